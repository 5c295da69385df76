"""The statistics of an index, for Python, as JSON and as a table for a paper."""

from dataclasses import asdict, dataclass

import pandas as pd

from cxrsearch.analysis.clusters.geometry import Hubness
from cxrsearch.analysis.clusters.reproduce import PaperTest
from cxrsearch.files import Json
from cxrsearch.json_values import number
from cxrsearch.shown import Shown

_LATEX_HEAD = r"""\begin{tabular}{lrrrrrrlr}
\toprule
Group & Images & Patients & $L_2$ & $L_2^2$ & $L_1$ & Effect & 95\% interval & $p_{\mathrm{Holm}}$ \\
\midrule"""


@dataclass(frozen=True)
class GroupStatistics:
    """The statistics of one group: all images (`Global`), images with a finding, or images without (`No Finding`).

    A value that cannot be computed is None. A mean without a suffix is over all pairs of images. The suffix
    `_other_patients` means pairs of different patients only. `_between` is to all images outside the group. `_nearest`
    is to the images of the nearest other finding; an image with both findings counts on both sides.

    Attributes:
        group: the group's name.
        images: number of images.
        patients: number of patients.
        mean_l2: mean L2 distance within the group, with at least 2 images.
        mean_squared_l2: mean squared L2 distance within the group, with at least 2 images.
        mean_l1: mean L1 distance within the group, with at least 2 images.
        nearest_finding: the other finding with the lowest mean L2 over all pairs; None for `Global`.
        separation: the mean silhouette of its images, over pairs of different patients.
        statistic: mean squared L2 to the rest minus that within, over pairs of different patients; high is clustered.
        effect: `statistic` divided by the global mean.
        effect_low: lower end of the 95% interval of `effect`, over patients.
        effect_high: upper end of that interval.
        p_value: p-value of the permutation test; None for `Global` and for images of fewer than 10 patients.
        p_holm: p-value adjusted for the number of tested findings. `No Finding` is not a finding: it keeps its
            `p_value`.
    """

    group: str
    images: int
    patients: int
    mean_l2: float | None
    mean_squared_l2: float | None
    mean_l1: float | None
    mean_l2_other_patients: float | None
    mean_squared_l2_other_patients: float | None
    mean_l1_other_patients: float | None
    mean_l2_between: float | None
    mean_squared_l2_between: float | None
    mean_l1_between: float | None
    mean_l2_between_other_patients: float | None
    mean_squared_l2_between_other_patients: float | None
    mean_l1_between_other_patients: float | None
    nearest_finding: str | None
    mean_l2_nearest: float | None
    mean_squared_l2_nearest: float | None
    mean_l1_nearest: float | None
    mean_l2_nearest_other_patients: float | None
    mean_squared_l2_nearest_other_patients: float | None
    mean_l1_nearest_other_patients: float | None
    separation: float | None
    statistic: float | None
    effect: float | None
    effect_low: float | None
    effect_high: float | None
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, repr=False)
class StatisticsResult(Shown):
    """The statistics of n embeddings.

    Attributes:
        space: the space of the distances.
        n: number of images.
        dim: dimensions of an embedding.
        live_dims: dimensions of the space in which the images vary.
        participation_ratio: the effective dimension; None if nothing varies.
        identity: 2 D n / (n - 1), the exact global mean squared L2; None in a space without unit variances.
        permutations: permutations of the cluster test.
        seed: seed of everything random.
        stratified: columns in which patients who exchange labels must agree, of `view` and `sex`.
        groups: `Global`, the findings in the order of the vocabulary, `No Finding`.
        hubness: hubness of the index's neighbours of other patients; None without an index, or with only one patient.
        reproduction: the paper's own test; None if it was not requested.
        warnings: what a reader must know.
    """

    space: str
    n: int
    dim: int
    live_dims: int
    participation_ratio: float | None
    identity: float | None
    permutations: int
    seed: int
    stratified: tuple[str, ...]
    groups: tuple[GroupStatistics, ...]
    hubness: Hubness | None
    reproduction: PaperTest | None
    warnings: tuple[str, ...]

    def heading(self) -> str:
        """What was compared, in one line."""
        return f"{self.n:,} embeddings of {self.dim} numbers, {self.space} space, {self.permutations:,} permutations"

    @property
    def digits(self) -> int:
        """The number of decimals to show of its distances."""
        overall = self.groups[0].mean_l2
        return 2 if overall is None or overall >= 10 else 4

    def to_frame(self) -> pd.DataFrame:
        """A table with one row per group; the columns are the attributes of `GroupStatistics`, null for None."""
        return pd.DataFrame([asdict(group) for group in self.groups])

    def to_json(self) -> Json:
        """The object that `cxrsearch statistics --json` prints."""
        return {
            "space": self.space,
            "n": self.n,
            "dim": self.dim,
            "live_dims": self.live_dims,
            "participation_ratio": self.participation_ratio,
            "identity": self.identity,
            "permutations": self.permutations,
            "seed": self.seed,
            "stratified": list(self.stratified),
            "warnings": list(self.warnings),
            "hubness": None if self.hubness is None else self._hubness(self.hubness),
            "groups": [asdict(group) for group in self.groups],
            "reproduction": None if self.reproduction is None else self._reproduction(self.reproduction),
        }

    def to_latex(self) -> str:
        """A LaTeX table for a paper; it needs the package booktabs."""
        return "\n".join(
            [_LATEX_HEAD, *(_latex_row(group, self.digits) for group in self.groups), r"\bottomrule", r"\end{tabular}"]
        )

    @staticmethod
    def _hubness(hubness: Hubness) -> Json:
        return {"k": hubness.k, "skew": number(hubness.skew), "anti_hub_share": hubness.anti_hub_share}

    def _reproduction(self, test: PaperTest) -> Json:
        names = ("images", "live_dims", "expected", "identity", "low", "high")
        columns = zip(self.groups, test.group_images, test.mean_l2, test.mean_squared_l2, test.verdicts, strict=True)
        groups = [
            {
                "group": group.group,
                "images": int(images),
                "mean_l2": number(l2),
                "mean_squared_l2": number(squared),
                "verdict": verdict,
            }
            for group, images, l2, squared, verdict in columns
        ]
        return {name: getattr(test, name) for name in names} | {"groups": groups}


def _latex_row(group: GroupStatistics, digits: int) -> str:
    cells = [
        group.group.replace("_", r"\_"),
        str(group.images),
        str(group.patients),
        *(_fixed(value, digits) for value in (group.mean_l2, group.mean_squared_l2, group.mean_l1)),
        _fixed(group.effect, 4),
        "" if group.effect_low is None else f"[{_fixed(group.effect_low, 4)}, {_fixed(group.effect_high, 4)}]",
        _fixed(group.p_holm, 3),
    ]
    return " & ".join(cells) + r" \\"


def _fixed(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}".replace("-", "$-$")
