"""The statistics of an index, against plain numpy over all pairs of its embeddings."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import skew

from cxrsearch.analysis.clusters.cluster_test import holm
from cxrsearch.analysis.measures.bootstrap import MIN_POSITIVE_PATIENTS
from cxrsearch.building.build import build_index
from cxrsearch.building.imported import import_embeddings
from cxrsearch.encoder.spec import UNTRAINED
from cxrsearch.errors import CatalogueError, StoreError, UsageError
from cxrsearch.images.catalogue import Catalogue
from cxrsearch.images.findings import Vocabulary
from cxrsearch.overview.index_statistics import embedding_statistics, index_statistics
from cxrsearch.overview.statistics_result import StatisticsResult
from cxrsearch.query.index import Index, open_index
from tests.conftest import SMALL, DataSet

N = 150
FINDINGS = ("Mass", "Edema", "Hernia", "Nodule")
QUICK: dict[str, Any] = {"permutations": 49}
METRICS = {"l2": "euclidean", "squared_l2": "sqeuclidean", "l1": "cityblock"}
CONTRACT = ["group", "images", "patients", "mean_l2", "mean_squared_l2", "mean_l1", "mean_l2_between"]
CONTRACT += ["p_value", "p_holm", "effect", "effect_low", "effect_high", "nearest_finding"]


def embeddings() -> np.ndarray:
    """150 points, of which those of Mass lie apart, and two are equal; dimension 3 is constant."""
    values = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32) + 100
    values[labels()[:, 0], :3] += 2
    values[:, 3] = 5
    values[7] = values[8]
    return values


def labels() -> np.ndarray:
    """Mass and Edema at random, Hernia on 6 images, Nodule on none."""
    rng = np.random.default_rng(1)
    made = np.column_stack([rng.random((N, 2)) < 0.3, np.arange(N) % 25 == 0, np.zeros(N, dtype=np.bool_)])
    return np.asarray(made)


def catalogue() -> Catalogue:
    rng = np.random.default_rng(2)
    patients = np.sort(rng.integers(0, 70, N)).astype(str)
    views = rng.choice(np.array(["PA", "AP", None], dtype=object), N, p=[0.45, 0.45, 0.1])
    frame = pd.DataFrame({"id": [f"{i}.png" for i in range(N)], "patient": patients, "view": views, "sex": "F"})
    return Catalogue(frame, Vocabulary(FINDINGS), labels())


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("statistics")
    table = catalogue().frame[["id", "patient", "view", "sex"]].rename(columns={"id": "image"})
    table["findings"] = ["|".join(Vocabulary(FINDINGS).decode(row)) for row in labels()]
    table.to_csv(folder / "table.csv", index=False)
    np.save(folder / "embeddings.npy", embeddings())
    import_embeddings(folder / "embeddings.npy", folder / "table.csv", index=folder / "index", findings=FINDINGS)
    return open_index(folder / "index", device="cpu")


@pytest.fixture(scope="module")
def result(index: Index) -> StatisticsResult:
    return index_statistics(index, reproduce=0.5, seed=3, **QUICK)


def groups() -> np.ndarray:
    return np.column_stack([np.ones(N, dtype=np.bool_), labels(), ~labels().any(axis=1)])


def mean(values: np.ndarray, a: np.ndarray, b: np.ndarray, chosen: np.ndarray) -> float | None:
    """The mean over i in a, j in b; None of none."""
    cells = chosen & np.outer(a, b)
    return float(values[cells].mean()) if cells.any() else None


def test_means_within_and_between_and_to_the_nearest_are_those_of_all_pairs(result: StatisticsResult) -> None:
    points = np.delete(embeddings().astype(np.float64), 3, axis=1)
    points = (points - points.mean(axis=0)) / points.std(axis=0)
    patients = np.array(catalogue().patients)
    everything, different = ~np.eye(N, dtype=np.bool_), patients[:, None] != patients
    assert [row.group for row in result.groups] == ["Global", *FINDINGS, "No Finding"]
    euclidean = cdist(points, points)
    for row, own in zip(result.groups, groups().T, strict=True):
        to_findings = {
            name: value
            for name, other in zip(FINDINGS, labels().T, strict=True)
            if name != row.group and (value := mean(euclidean, own, other, everything)) is not None
        }
        nearest = min(to_findings, key=lambda name: to_findings[name]) if row.images and row.group != "Global" else None
        assert row.nearest_finding == nearest
        for metric, scipys in METRICS.items():
            values = cdist(points, points, scipys)
            for suffix, chosen in (("", everything), ("_other_patients", different)):
                near = None if nearest is None else mean(values, own, labels()[:, FINDINGS.index(nearest)], chosen)
                expected = {
                    f"mean_{metric}{suffix}": mean(values, own, own, chosen),
                    f"mean_{metric}_between{suffix}": mean(values, own, ~own, chosen),
                    f"mean_{metric}_nearest{suffix}": near,
                }
                for name, value in expected.items():
                    assert getattr(row, name) == (None if value is None else pytest.approx(value, rel=1e-6)), name


def test_counts_tests_and_what_is_null(result: StatisticsResult) -> None:
    rows = {row.group: row for row in result.groups}
    patients = np.array(catalogue().patients)
    for row, own in zip(result.groups, groups().T, strict=True):
        assert (row.images, row.patients) == (own.sum(), len(set(patients[own])))
    for name in ("Global", "Hernia", "Nodule"):
        row = rows[name]
        assert row.p_value is row.p_holm is row.effect is row.effect_low is row.effect_high is row.statistic is None
    assert rows["Hernia"].patients < MIN_POSITIVE_PATIENTS
    assert rows["Hernia"].mean_l2 is not None
    assert rows["Nodule"].mean_l2 is rows["Nodule"].separation is rows["Global"].separation is None
    p = np.array([rows[name].p_value for name in ("Mass", "Edema")], dtype=np.float64)
    assert [rows[name].p_holm for name in ("Mass", "Edema")] == holm(p).tolist()
    assert rows["No Finding"].p_holm == rows["No Finding"].p_value
    mass = rows["Mass"]
    assert mass.p_value == 0.02
    assert mass.effect is not None
    assert mass.effect_low is not None
    assert mass.effect_high is not None
    assert 0 < mass.effect_low < mass.effect < mass.effect_high
    assert mass.separation is not None
    assert rows["Edema"].separation is not None
    assert mass.separation > rows["Edema"].separation


def test_progress_may_name_its_arguments_as_it_likes(index: Index) -> None:
    """What reports progress is called by position."""
    stages: dict[str, tuple[int, int]] = {}
    index_statistics(index, progress=lambda a, b, c: stages.update({a: (b, c)}), **QUICK)
    assert stages["neighbours of all images"] == (N, N)


def test_the_whole_and_the_identity(result: StatisticsResult) -> None:
    assert (result.space, result.n, result.dim, result.live_dims) == ("standardised", N, 8, 7)
    assert result.identity == pytest.approx(2 * 7 * N / (N - 1))
    assert result.groups[0].mean_squared_l2 == pytest.approx(result.identity, rel=1e-7)
    correlation = np.corrcoef(np.delete(embeddings().astype(np.float64), 3, axis=1).T)
    assert result.participation_ratio == pytest.approx(49 / (correlation**2).sum(), rel=1e-6)
    assert result.reproduction is not None
    assert result.reproduction.images == 75


def test_hubness_is_that_of_neighbours_of_other_patients(result: StatisticsResult) -> None:
    distances = cdist(embeddings().astype(np.float64), embeddings().astype(np.float64))
    patients = np.array(catalogue().patients)
    distances[patients[:, None] == patients] = np.inf
    occurrence = np.bincount(np.argsort(distances, axis=1, kind="stable")[:, :20].ravel(), minlength=N)
    assert result.hubness is not None
    assert result.hubness.k == 20
    assert result.hubness.skew == pytest.approx(skew(occurrence))
    assert result.hubness.anti_hub_share == np.mean(occurrence == 0)


def test_json_holds_the_contract_and_no_nan(result: StatisticsResult) -> None:
    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    head = ["space", "n", "dim", "live_dims", "participation_ratio", "permutations", "seed", "warnings", "groups"]
    assert set(head) <= set(value)
    assert (value["permutations"], value["seed"]) == (49, 3)
    assert len(value["groups"]) == 6
    for group, row in zip(value["groups"], result.groups, strict=True):
        assert set(CONTRACT) <= set(group)
        assert group["mean_l2"] == row.mean_l2
    assert value["groups"][4]["mean_l2"] is None
    assert value["reproduction"]["groups"][0]["verdict"] == "within"
    assert value["reproduction"]["groups"][4] == {
        "group": "Nodule",
        "images": 0,
        "mean_l2": None,
        "mean_squared_l2": None,
        "verdict": "unknown",
    }
    frame = result.to_frame()
    assert frame["group"].tolist() == [row.group for row in result.groups]
    assert np.isnan(frame["mean_l2"][4])


def test_latex_has_a_line_a_group(result: StatisticsResult) -> None:
    other = replace(result.groups[2], group="Pleural_Thickening", effect=-0.5)
    named = replace(result, groups=(*result.groups[:2], other))
    lines = named.to_latex().splitlines()
    assert lines[0].startswith(r"\begin{tabular}")
    assert lines[-1] == r"\end{tabular}"
    body = [line for line in lines if line.endswith(r"\\")][1:]
    assert len(body) == 3
    assert all(line.count("&") == 8 for line in body)
    assert body[0].startswith(f"Global & {N} & ")
    assert body[2].startswith(r"Pleural\_Thickening & ")
    assert "& $-$0.5000 &" in body[2]


def test_warnings_say_what_a_reader_must_know(result: StatisticsResult) -> None:
    text = "\n".join(result.warnings)
    for expected in (
        "1 of 8 dimensions do not vary: they are left out",
        "49 permutations are too few",
        "no images: Nodule",
        "images of fewer than 10 patients, so not tested: Hernia",
    ):
        assert expected in text
    sizes = pd.Series(catalogue().patients).value_counts()
    alone = sizes[sizes.map(sizes.value_counts()) == 1]
    assert f"{len(alone)} patients ({alone.sum()} images) with a number of images that nobody shares" in text
    enough = embedding_statistics(np.delete(embeddings(), 3, axis=1), catalogue(), permutations=1000)
    assert not any("permutations are" in warning or "dimensions" in warning for warning in enough.warnings)
    for name in ("raw", "whitened"):
        warnings = embedding_statistics(embeddings(), catalogue(), space=name, **QUICK).warnings
        assert f"the test is defined in the standardised space; here it uses the {name} space" in warnings
    wide = np.random.default_rng(0).normal(size=(N, 2 * N))
    assert any("equally far" in w for w in embedding_statistics(wide, catalogue(), space="whitened", **QUICK).warnings)


def test_short_distances_are_shown_with_more_decimals(result: StatisticsResult) -> None:
    short = embedding_statistics(embeddings(), catalogue(), space="l2", **QUICK)
    assert result.groups[0].mean_l2 is not None
    assert short.groups[0].mean_l2 is not None
    assert short.groups[0].mean_l2 < result.groups[0].mean_l2 < 10
    assert f"Global & 150 & {short.groups[0].patients} & {short.groups[0].mean_l2:.4f} &" in short.to_latex()
    long = embedding_statistics(embeddings() * 100, catalogue(), space="raw", **QUICK)
    assert f" & {long.groups[0].mean_l2:.2f} &" in long.to_latex()


def test_stratified_permutations_keep_views_apart() -> None:
    plain = embedding_statistics(embeddings(), catalogue(), **QUICK)
    result = embedding_statistics(embeddings(), catalogue(), stratify=("view", "sex"), **QUICK)
    assert result.stratified == ("view", "sex")
    assert plain.stratified == ()
    missing = int(catalogue().frame["view"].isna().sum())
    assert f"the view of {missing} of {N} images is not known: these are a separate stratum" in result.warnings
    assert any("with a number of images of each view and sex that nobody shares" in w for w in result.warnings)
    assert [row.effect for row in result.groups] == [row.effect for row in plain.groups]
    assert [row.p_value for row in result.groups] != [row.p_value for row in plain.groups]
    with pytest.raises(UsageError, match="cannot stratify by 'age' — use view, sex or both"):
        embedding_statistics(embeddings(), catalogue(), stratify=("view", "age"))


def test_one_patient_and_one_image() -> None:
    whole = catalogue()
    one = replace(whole, frame=whole.frame.assign(patient="p"))
    result = embedding_statistics(embeddings(), one, **QUICK)
    assert result.groups[0].mean_l2 is not None
    assert result.groups[0].mean_l2_other_patients is None
    assert all(row.p_value is None for row in result.groups)
    alone = embedding_statistics(embeddings()[:1], whole.take([0]), **QUICK)
    assert alone.identity is alone.participation_ratio is alone.groups[0].mean_l2 is None
    json.dumps(alone.to_json(), allow_nan=False)


def test_an_index_of_images(small_index: Path, data_set: DataSet, tmp_path: Path) -> None:
    result = index_statistics(open_index(small_index, device="cpu"), **QUICK)
    assert (result.n, len(result.groups)) == (10, 16)
    assert UNTRAINED in result.warnings
    build_index(data_set.images, index=tmp_path / "bare", **SMALL)
    with pytest.raises(CatalogueError, match=r"findings of the images are not known.*build the index with --labels"):
        index_statistics(open_index(tmp_path / "bare", device="cpu"))


def test_embeddings_that_are_not_finite_or_not_as_many_are_refused(index: Index) -> None:
    damaged = embeddings()
    damaged[4, 2] = np.nan
    with pytest.raises(UsageError, match="the embeddings of 1 of 150 images are not finite, the first in row 4"):
        embedding_statistics(damaged, catalogue())
    opened = open_index(index.stored.folder, device="cpu")
    opened.stored = replace(opened.stored, blocks=[damaged])
    with pytest.raises(StoreError, match="the embeddings of 1 of 150 images are not finite"):
        index_statistics(opened)
    with pytest.raises(UsageError, match="149 embeddings for a catalogue of 150 images"):
        embedding_statistics(embeddings()[1:], catalogue())


def test_the_same_bytes_again(index: Index, result: StatisticsResult) -> None:
    again = index_statistics(index, reproduce=0.5, seed=3, **QUICK)
    assert json.dumps(again.to_json()) == json.dumps(result.to_json())
