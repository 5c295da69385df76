"""The statistics of an index: mean distances of findings, a test whether they cluster, and the shape of the embeddings.

embeddings -> space -> sums over all pairs -> means, silhouettes; permutation test; hubs among the index's neighbours
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.clusters.cluster_test import ClusterTest, cluster_test, holm
from cxrsearch.analysis.clusters.geometry import Hubness, hubness, participation_ratio, separation
from cxrsearch.analysis.clusters.pair_distances import GroupDistances, PairSums, group_distances, same_patient
from cxrsearch.analysis.clusters.reproduce import paper_test
from cxrsearch.analysis.clusters.spaces import Space, SpaceName, check_embeddings, to_space
from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.encoder.embed import resolve_device
from cxrsearch.errors import CatalogueError, StoreError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import NO_FINDING
from cxrsearch.json_values import number
from cxrsearch.overview.statistics_result import GroupStatistics, StatisticsResult
from cxrsearch.progress import Progress, silent
from cxrsearch.query.index import Index
from cxrsearch.store.filtered_search import open_vectors
from cxrsearch.words import counted
from cxrsearch_indexes import KINDS

GLOBAL = "Global"
STRATA = ("view", "sex")
METRICS = ("l2", "squared_l2", "l1")

PERMUTATIONS = 1000
"""The least number of permutations for a p-value that is worth quoting."""

NEIGHBOURS = 20
"""Neighbours per image for hubness: as many as vote by default."""


def index_statistics(
    index: Index,
    *,
    space: SpaceName = "standardised",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    stratify: Sequence[str] = (),
    reproduce: float | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> StatisticsResult:
    """The statistics of an index: those of its embeddings, and the hubs among its neighbours.

    Args:
        index: an open index whose images' findings are known.
        space: the space of the distances: `standardised`, `raw`, `l2` or `whitened`.
        permutations: permutations of the cluster test.
        seed: seed of everything random.
        stratify: columns in which patients who exchange labels must agree, of `view` and `sex`.
        reproduce: the share of the images on which the paper's own test is repeated; None: not repeated.
        device: where the L2 of all pairs is summed: `cpu`, `cuda`, `cuda:N`, or `auto`: a GPU if there is one. Devices
            agree to about 1e-6 of a mean.
        progress: called during the work.

    Returns:
        One row of statistics per finding, and the hubness.

    Raises:
        UsageError: invalid arguments.
        CatalogueError: the findings of the images are not known.
        StoreError: embeddings that are not finite.
    """
    manifest = index.manifest
    embeddings = _finite(np.concatenate(index.stored.blocks), index)
    result = embedding_statistics(
        embeddings,
        index.catalogue,
        space=space,
        permutations=permutations,
        seed=seed,
        stratify=stratify,
        reproduce=reproduce,
        device=device,
        progress=progress,
    )
    warnings = [*result.warnings, *manifest.warnings]
    if manifest.patient_source == "file":
        warnings.append("patients are not known: every image counts as its own patient")
    if manifest.kind in KINDS and KINDS[manifest.kind].approximate:
        warnings.append(f"hubness uses the neighbours of {manifest.kind}, which may miss some")
    return replace(result, hubness=_hubness(index, progress), warnings=tuple(warnings))


def embedding_statistics(
    embeddings: NDArray[np.floating[Any]],
    catalogue: Catalogue,
    *,
    space: SpaceName = "standardised",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    stratify: Sequence[str] = (),
    reproduce: float | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> StatisticsResult:
    """The statistics of any embeddings.

    Args:
        embeddings: floating (n, dim), one row per image of the catalogue.
        catalogue: the n images, with their findings and patients.
        space: the space of the distances: `standardised`, `raw`, `l2` or `whitened`.
        permutations: permutations of the cluster test.
        seed: seed of everything random.
        stratify: columns in which patients who exchange labels must agree, of `view` and `sex`.
        reproduce: the share of the images on which the paper's own test is repeated; None: not repeated.
        device: where the L2 of all pairs is summed, as in `index_statistics`.
        progress: called during the work.

    Returns:
        One row of statistics per finding, without hubness.

    Raises:
        UsageError: invalid arguments, or embeddings that are not finite.
        CatalogueError: the findings of the images are not known.
    """
    labels, where = _labels(catalogue, len(embeddings)), str(resolve_device(device))
    strata, warnings = _strata(catalogue, stratify)
    names = (GLOBAL, *catalogue.vocabulary.findings, NO_FINDING)
    groups = np.column_stack([np.ones(len(labels), dtype=np.bool_), labels, ~labels.any(axis=1)])
    patients = catalogue.patient_groups()
    placed = to_space(embeddings, space)
    reproduction = None if reproduce is None else paper_test(embeddings, groups, sample=reproduce, seed=seed)
    same = same_patient(placed.points, patients)
    drawn = {"permutations": permutations, "seed": seed}
    test = cluster_test(placed.points, groups[:, 1:], patients, same, strata=strata, progress=progress, **drawn)
    distances = group_distances(placed.points, groups, same, progress, where)
    table = _table(names, groups, patients, distances, test)
    n = len(labels)
    return StatisticsResult(
        space=space,
        n=n,
        dim=placed.dim,
        live_dims=placed.live_dims,
        participation_ratio=number(participation_ratio(placed.points)),
        identity=2 * placed.live_dims * n / (n - 1) if placed.unit_variance and n > 1 else None,
        stratified=tuple(stratify),
        groups=table,
        hubness=None,
        reproduction=reproduction,
        warnings=(*warnings, *_warnings(placed, table, test, stratify)),
        **drawn,
    )


def _finite(embeddings: NDArray[np.float32], index: Index) -> NDArray[np.float32]:
    try:
        check_embeddings(embeddings)
    except UsageError as error:
        raise StoreError(f"{index.stored.folder}: {error.problem}", "build the index anew without them") from error
    return embeddings


def _labels(catalogue: Catalogue, n: int) -> NDArray[np.bool_]:
    if catalogue.labels is None:
        raise CatalogueError(
            "the findings of the images are not known, so there are no groups to compare",
            "build the index with --labels TABLE",
        )
    if len(catalogue) != n:
        raise UsageError(f"{n} embeddings for a catalogue of {len(catalogue)} images", "give one row per image")
    return catalogue.labels


def _strata(catalogue: Catalogue, columns: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """The stratum of each image as a number, and warnings about unknown values."""
    wrong = [column for column in columns if column not in STRATA]
    if wrong:
        raise UsageError(f"cannot stratify by {wrong[0]!r}", f"use {', '.join(STRATA)} or both")
    frame = catalogue.frame[list(columns)].fillna("")
    warnings = [
        f"the {column} of {missing} of {len(frame)} images is not known: these are a separate stratum"
        for column in columns
        if (missing := int(frame[column].eq("").sum()))
    ]
    codes = frame.groupby(list(columns)).ngroup() if columns else np.zeros(len(frame))
    return np.asarray(codes, dtype=np.int64), warnings


def _table(
    names: Sequence[str],
    groups: NDArray[np.bool_],
    patients: NDArray[np.int64],
    distances: GroupDistances,
    test: ClusterTest,
) -> tuple[GroupStatistics, ...]:
    """One row per group, with the columns in the order of `GroupStatistics`."""
    nearest = _nearest(distances.all_pairs.mean("l2"))
    columns = {
        "group": list(names),
        "images": [int(count) for count in groups.sum(axis=0)],
        "patients": [len(np.unique(patients[group])) for group in groups.T],
        "nearest_finding": [None if near is None else names[near] for near in nearest],
        **_means(distances.all_pairs, "", nearest),
        **_means(distances.other_patients, "_other_patients", nearest),
        "separation": [
            None,
            *_numbers(separation(distances.image_l2[:, 1:], distances.image_pairs[:, 1:], groups[:, 1:])),
        ],
    }
    tested = {
        "statistic": test.statistic,
        "effect": test.effect,
        "effect_low": test.effect_low,
        "effect_high": test.effect_high,
        "p_value": test.p_value,
        "p_holm": np.append(holm(test.p_value[:-1]), test.p_value[-1]),
    }
    columns |= {name: [None, *_numbers(values)] for name, values in tested.items()}
    return tuple(GroupStatistics(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True))


def _means(sums: PairSums, suffix: str, nearest: Sequence[int | None]) -> dict[str, list[Any]]:
    """The columns of means within, between and to the nearest other finding."""
    columns = {}
    for metric in METRICS:
        mean = sums.mean(metric)
        columns[f"mean_{metric}{suffix}"] = _numbers(mean.diagonal())
        columns[f"mean_{metric}_between{suffix}"] = _numbers(sums.mean_to_rest(metric))
        near = [np.nan if g is None else mean[row, g] for row, g in enumerate(nearest)]
        columns[f"mean_{metric}_nearest{suffix}"] = _numbers(np.array(near))
    return columns


def _nearest(mean_l2: NDArray[np.float64]) -> list[int | None]:
    """The nearest other finding of each group, None for all images together; findings are groups 1 to K - 2."""
    nearest: list[int | None] = [None]
    for group in range(1, len(mean_l2)):
        to_findings = np.full(len(mean_l2), np.inf)
        to_findings[1:-1] = np.where(np.isnan(mean_l2[group, 1:-1]), np.inf, mean_l2[group, 1:-1])
        to_findings[group] = np.inf
        near = int(to_findings.argmin())
        nearest.append(near if np.isfinite(to_findings[near]) else None)
    return nearest


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [number(value) for value in values]


def _warnings(
    placed: Space, table: Sequence[GroupStatistics], test: ClusterTest, stratify: Sequence[str]
) -> Iterator[str]:
    constant = placed.dim - placed.live_dims
    if constant:
        reason = "do not vary, or follow from the others" if placed.name == "whitened" else "do not vary"
        yield f"{constant} of {placed.dim} dimensions {reason}: they are left out"
    if placed.name != "standardised":
        yield f"the test is defined in the standardised space; here it uses the {placed.name} space"
    if placed.name == "whitened" and placed.live_dims == len(placed.points) - 1:
        yield "as many whitened dimensions as images allow: all images are equally far from each other"
    if test.permutations < PERMUTATIONS:
        yield f"{test.permutations} permutations are too few to quote a p-value: use at least {PERMUTATIONS}"
    if test.fixed_patients:
        alike = "number of images" + (f" of each {' and '.join(stratify)}" if stratify else "")
        patients, images = counted(test.fixed_patients, "patient"), counted(test.fixed_images, "image")
        yield (f"{patients} ({images}) with a {alike} that nobody shares keep their labels in the permutation test")
    empty = [group.group for group in table if not group.images]
    if empty:
        yield f"no images: {', '.join(empty)}"
    few = [group.group for group in table[1:] if 0 < group.patients < MIN_POSITIVE_PATIENTS]
    if few:
        yield f"images of fewer than {MIN_POSITIVE_PATIENTS} patients, so not tested: {', '.join(few)}"


def _hubness(index: Index, progress: Progress) -> Hubness | None:
    """The hubness of the index's search, with other patients only; None if there is only one patient."""
    patients = index.catalogue.patient_groups()
    if len(np.unique(patients)) < 2:
        return None
    n = len(index)
    neighbours = open_vectors(index.stored, "cpu").search_all(
        NEIGHBOURS, patients, lambda done: progress("neighbours of all images", done, n)
    )
    return hubness(neighbours, NEIGHBOURS, n)
