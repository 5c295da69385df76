"""What the statistics of an index are: for Python, as JSON, as a table for a paper."""

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
    """One group: all images (`Global`), those with a finding, or those with none (`No Finding`).

    None is what cannot be computed. A mean without suffix is over all pairs of images, one with `_other_patients` over
    the pairs of different patients; `_between` is to all images outside the group, `_nearest` to those of the nearest
    other finding, an image with both findings being on both sides.

    Attributes:
        group: its name.
        images, patients: how many.
        mean_l2, mean_squared_l2, mean_l1: within the group, from 2 images on.
        nearest_finding: the other finding with the lowest mean L2 over all pairs; None for `Global`.
        separation: the mean silhouette of its images, pairs of different patients only.
        statistic: mean squared L2 to the rest minus within, pairs of different patients; high is clustered.
        effect, effect_low, effect_high: `statistic` over the global mean, and its 95% interval over patients.
        p_value: of the permutation test; None for `Global` and for images of fewer than 10 patients.
        p_holm: adjusted for the number of findings tested; `No Finding` is none of them, and keeps its `p_value`.
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
        space: in which distances are taken.
        n, dim: images, and dimensions of an embedding.
        live_dims: dimensions of the space in which the images vary.
        participation_ratio: the effective dimension; None where nothing varies.
        identity: 2 D n / (n - 1), what the global mean squared L2 must be; None in a space without unit variances.
        permutations, seed: of the test.
        stratified: what patients who exchange labels must have alike, `view` and `sex`.
        groups: `Global`, the findings in the order of the vocabulary, `No Finding`.
        hubness: of the index's own neighbours of other patients; None without an index, or with one patient only.
        reproduction: the paper's own test; None where it was not asked for.
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
        """With how many decimals its distances are worth showing."""
        overall = self.groups[0].mean_l2
        return 2 if overall is None or overall >= 10 else 4

    def to_frame(self) -> pd.DataFrame:
        """One row a group; the columns are the attributes of `GroupStatistics`, null where they are None."""
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
        """The table of a paper, for the package booktabs."""
        return "\n".join(
            [_LATEX_HEAD, *(_latex_row(group, self.digits) for group in self.groups), r"\bottomrule", r"\end{tabular}"]
        )

    @staticmethod
    def _hubness(found: Hubness) -> Json:
        return {"k": found.k, "skew": number(found.skew), "anti_hub_share": found.anti_hub_share}

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
