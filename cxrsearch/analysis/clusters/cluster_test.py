"""Are the images of a group nearer to each other than to the rest? A permutation test that keeps patients whole.

The statistic of a group is the mean squared L2 from its images to the rest, minus the mean within it. Both are over
pairs of images of different patients. High is clustered. `_group_sums` gives it in closed form. A permutation reassigns
blocks of labels to patients (see `_exchange`), for all groups at once; all counts of pairs stay the same.

    p = (1 + permutations whose statistic is at least the observed one) / (1 + permutations)

(Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, 39). The effect is the statistic over the mean squared L2 of
all pairs of different patients. For its interval, patients are drawn with replacement, as in `bootstrap`. An image
counts as often as its patient was drawn, and pairs of two copies of one patient are left out.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrsearch.analysis.clusters._exchange import BlockPairs, Blocks
from cxrsearch.analysis.clusters._group_sums import GroupSums, PatientSums, squared_norms
from cxrsearch.analysis.clusters.pair_distances import BLOCK, SamePatientPairs
from cxrsearch.analysis.measures.bootstrap import BLOCK as REPLICATES
from cxrsearch.analysis.measures.bootstrap import HIGH, LOW, MIN_POSITIVE_PATIENTS, PatientBootstrap
from cxrsearch.arrays import Embeddings, Flags, Floats, Integers
from cxrsearch.errors import UsageError
from cxrsearch.progress import Progress, silent

BATCH = 64
"""Permutations evaluated in one matrix product."""

TIE = 1e-6
"""Statistics that differ by less than this share of the global mean count as equal; float32 errors are smaller."""

_STREAM = 1  # keeps the random numbers of the permutations independent of those of the bootstrap


@dataclass(frozen=True)
class ClusterTest:
    """The test of G groups; nan for a group of fewer than 10 patients, or without pairs within or to the rest.

    Attributes:
        statistic: float64 (G,), mean squared L2 to the rest minus mean squared L2 within; high is clustered.
        effect: float64 (G,), the statistic divided by `global_mean`.
        effect_low, effect_high: float64 (G,), its 95% percentile interval over patients.
        p_value: float64 (G,), one-sided.
        global_mean: the mean squared L2 over all pairs of different patients; nan without such pairs.
        permutations: the number of permutations.
        fixed_patients, fixed_images: the number of patients who can exchange labels with no other, and of their images.
    """

    statistic: Floats
    effect: Floats
    effect_low: Floats
    effect_high: Floats
    p_value: Floats
    global_mean: float
    permutations: int
    fixed_patients: int
    fixed_images: int


def cluster_test(
    points: Embeddings,
    groups: Flags,
    patients: NDArray[Any],
    same: SamePatientPairs,
    *,
    strata: Integers | None = None,
    permutations: int = 1000,
    replicates: int = 2000,
    seed: int = 0,
    progress: Progress = silent,
) -> ClusterTest:
    """Test whether the images of each group cluster.

    Args:
        points: float32 (n, d), centred (`Space.points`).
        groups: bool (n, G), which images are in each group.
        patients: (n,), the patient of each image.
        same: the pairs of images of one patient among these points.
        strata: int64 (n,); labels move only between images of one stratum. By default there is a single stratum.
        permutations: their number; use 1,000 or more for a p-value worth quoting.
        replicates: of the bootstrap.
        seed: of the permutations and of the bootstrap.
        progress: called as permutations and intervals are done.

    Raises:
        UsageError: arrays that do not fit together, no permutations or replicates, or a negative seed.
    """
    _check(points, groups, patients, permutations, seed)
    patient = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    blocks = Blocks.of(patient, np.zeros(len(points), dtype=np.int64) if strata is None else strata)
    everyone = PatientSums.of(points, np.ones(len(points), dtype=np.bool_), patient, same)
    weights = _weights(PatientBootstrap(patients, replicates, seed), len(blocks.size), replicates)
    drawn = [everyone.weigh(block) for block in weights]
    overall = np.concatenate([sums.mean_within() for sums in drawn])

    many = [g for g, group in enumerate(groups.T) if len(np.unique(patient[group])) >= MIN_POSITIVE_PATIENTS]
    results = np.full((5, groups.shape[1]), np.nan)
    observed = {}
    for done, g in enumerate(many):
        progress("intervals", done, len(many))
        members = PatientSums.of(points, groups[:, g], patient, same)
        values = np.concatenate([members.weigh(w).contrast(sums) for w, sums in zip(weights, drawn, strict=True)])
        results[:4, g] = _effect(values, overall)
        if not np.isnan(values[0]):
            observed[g] = members.weigh(weights[0])
    progress("intervals", len(many), len(many))
    if observed:
        exchange = _Exchange.of(points, groups[:, list(observed)], blocks, same)
        null = exchange.statistics(list(observed.values()), drawn[0], permutations, seed, progress)
        # Row 0 holds the observed labels, from the same float32 products: it is the 1 in the numerator of p.
        results[4, list(observed)] = (null >= null[0] - TIE * overall[0]).mean(axis=0)
    statistic, effect, low, high, p_value = results
    fixed = blocks.size[blocks.fixed]
    counts = (permutations, len(fixed), int(fixed.sum()))
    return ClusterTest(statistic, effect, low, high, p_value, float(overall[0]), *counts)


def holm(p_values: Floats) -> Floats:
    """Adjust p-values, float64 (G,), for multiple testing (Holm 1979, Scand. J. Statist. 6, 65-70).

    The k-th smallest of m is multiplied by m - k + 1. The result is at least the previous one, and at most 1. A nan
    stays nan and does not count in m.
    """
    adjusted = np.full(p_values.shape, np.nan)
    order = np.argsort(p_values)[: np.count_nonzero(~np.isnan(p_values))]
    stepped = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def _weights(bootstrap: PatientBootstrap, patients: int, replicates: int) -> list[NDArray[np.uint8]]:
    """How often each patient counts: once each, (patients, 1), then the replicates in blocks, (patients, r)."""
    starts = range(0, replicates, REPLICATES)
    drawn = (bootstrap.multiplicities(range(at, min(at + REPLICATES, replicates))) for at in starts)
    return [np.ones((patients, 1), dtype=np.uint8), *(block.astype(np.uint8) for block in drawn)]


def _effect(values: Floats, overall: Floats) -> tuple[float, float, float, float]:
    """Statistic, effect and its bounds, from statistics and global means: the observed ones, then the replicates'."""
    effects = np.divide(values, overall, out=np.full_like(values, np.nan), where=overall > 0)
    replicates = effects[1:][~np.isnan(effects[1:])]
    low, high = np.percentile(replicates, (LOW, HIGH)) if len(replicates) else (np.nan, np.nan)
    return float(values[0]), float(effects[0]), float(low), float(high)


@dataclass(frozen=True)
class _Exchange:
    """The statistics of G groups while blocks of labels are exchanged.

    Each image has two numbers: its squared norm, and the sum of its squared distances to images of its patient. As the
    products are float32, these enter as differences from their means.

    Attributes:
        blocks: which patients exchange labels.
        points: float32 (n, d).
        norms: float64 (n, 2), the two numbers of each image.
        labels: float32 (n, G), in the order of the blocks.
        pairs: for each group, its pairs of one patient's images, with their squared distances.
    """

    blocks: Blocks
    points: Embeddings
    norms: Floats
    labels: Embeddings
    pairs: tuple[BlockPairs, ...]

    @classmethod
    def of(cls, points: Embeddings, groups: Flags, blocks: Blocks, same: SamePatientPairs) -> "_Exchange":
        to_own_patient = sum(np.bincount(rows, same.squared_l2, len(points)) for rows in (same.first, same.second))
        pairs = BlockPairs.of(blocks, same.first, same.second, same.squared_l2)
        both = groups[same.first] & groups[same.second]
        return cls(
            blocks,
            points,
            norms=np.column_stack([squared_norms(points), to_own_patient]),
            labels=groups[blocks.order].astype(np.float32),
            pairs=tuple(pairs.part(chosen) for chosen in both.T),
        )

    def statistics(
        self, observed: list[GroupSums], everyone: GroupSums, permutations: int, seed: int, progress: Progress
    ) -> Floats:
        """The statistics with the observed labels, then of every permutation: float64 (1 + permutations, G)."""
        batches = []
        for start in range(0, 1 + permutations, BATCH):
            progress("permutations", start, 1 + permutations)
            donors = np.stack([self._donors(r, seed) for r in range(start, min(start + BATCH, 1 + permutations))])
            receivers = np.argsort(donors, axis=1)
            sums = self._sums(donors)
            values = [
                self._exchange(g, group, sums[:, g], receivers).contrast(everyone) for g, group in enumerate(observed)
            ]
            batches.append(np.stack(values, axis=1))
        progress("permutations", 1 + permutations, 1 + permutations)
        return np.concatenate(batches)

    def _donors(self, permutation: int, seed: int) -> Integers:
        if permutation == 0:
            return np.arange(len(self.blocks.size))
        return self.blocks.draw(np.random.default_rng((seed, _STREAM, permutation)))

    def _sums(self, donors: Integers) -> Floats:
        """The sums of each group's points and of the two numbers: float64 (r, G, d + 2), for donors int64 (r, P)."""
        r, count = len(donors), self.labels.shape[1]
        place = np.arange(len(self.labels)) - self.blocks.start[self.blocks.patient]
        means = self.norms.mean(axis=0)
        sums = np.zeros((r * count, self.points.shape[1] + 2))
        for at in range(0, len(self.labels), BLOCK):
            part = slice(at, at + BLOCK)
            rows, patient = self.blocks.order[part], self.blocks.patient[part]
            source = self.blocks.start[donors[:, patient]] + place[part]
            values = np.column_stack([self.points[rows], (self.norms[rows] - means).astype(np.float32)])
            sums += self.labels[source.T].reshape(len(rows), -1).T @ values
        sums = sums.reshape(r, count, -1)
        sums[:, :, -2:] += self.labels.sum(axis=0, dtype=np.float64)[:, None] * means
        return sums

    def _exchange(self, group: int, observed: GroupSums, sums: Floats, receivers: Integers) -> GroupSums:
        """A group's sums after each exchange, from `sums` (r, d + 2); the counts stay those observed."""
        within = np.array([self.pairs[group].total(receiver) for receiver in receivers])
        return replace(
            observed,
            squares=sums[:, -2],
            vector=sums[:, :-2].T,
            own_within=within,
            own_rest=sums[:, -1] - 2 * within,
        )


def _check(points: Embeddings, groups: Flags, patients: NDArray[Any], permutations: int, seed: int) -> None:
    if groups.dtype != np.bool_ or groups.ndim != 2 or not 0 < len(points) == len(groups) == len(patients):
        got = f"points {points.shape}, groups {groups.dtype} {groups.shape}, {len(patients)} patients"
        raise UsageError(f"points, bool groups and patients must fit together: got {got}", "give one row per image")
    if permutations < 1 or seed < 0:
        got = f"{permutations} permutations, seed {seed}"
        raise UsageError(f"a test needs permutations and a seed from 0 on: got {got}", "correct these")
