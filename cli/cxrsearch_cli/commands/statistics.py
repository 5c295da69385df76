"""`cxrsearch statistics`: how far apart the images of each finding lie, and whether they cluster."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli import console
from cxrsearch_cli.inputs import require_index, split_names
from cxrsearch_cli.options import OUTPUT, Device, IndexOption, PaperFormOptions, with_options

if TYPE_CHECKING:
    from cxrsearch.analysis.clusters.reproduce import PaperTest
    from cxrsearch.overview.statistics_result import GroupStatistics, StatisticsResult


@dataclass(frozen=True, kw_only=True)
class _Options(PaperFormOptions):
    index: IndexOption = None
    space: Annotated[
        Literal["standardised", "raw", "l2", "whitened"],
        typer.Option(
            help="Measure distances between embeddings divided by their standard deviations (standardised), as they "
            "are (raw), of unit length (l2), or whitened.",
            metavar="SPACE",
        ),
    ] = "standardised"
    permutations: Annotated[
        int, typer.Option(help="Permutations of the cluster test. Use at least 1,000 to quote a p-value.")
    ] = 1000
    seed: Annotated[int, typer.Option(help="Seed of permutations, intervals and sample.")] = 0
    stratify: Annotated[
        str | None,
        typer.Option(
            help="Exchange labels only between patients of the same view, sex or view,sex.", show_default=False
        ),
    ] = None
    reproduce: Annotated[bool, typer.Option("--reproduce", help="Also repeat the paper's test unchanged.")] = False
    sample: Annotated[
        float | None,
        typer.Option(
            help="The share of the images that --reproduce takes. Default: 0.05, as in the paper.", show_default=False
        ),
    ] = None
    device: Device = "auto"
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV on stdout, with one line per group.", rich_help_panel=OUTPUT)
    ] = False


@with_options
def command(options: _Options) -> None:
    """Compare the distances between all images, between those of each finding, and between those with none.

    A permutation test shows whether the images of a finding cluster: it exchanges labels between patients.
    """
    form = options.form()
    if options.sample is not None and not options.reproduce:
        raise UsageError("--sample without --reproduce", "add --reproduce: only the paper's test takes a sample")
    folder = require_index(options.index)
    from cxrsearch.overview.index_statistics import index_statistics
    from cxrsearch.query.index import open_index

    sample = 0.05 if options.sample is None else options.sample
    index = open_index(folder, device="cpu")
    with console.progress() as progress:
        result = index_statistics(
            index,
            space=options.space,
            permutations=options.permutations,
            seed=options.seed,
            stratify=split_names(options.stratify),
            reproduce=sample if options.reproduce else None,
            device=options.device,
            progress=progress,
        )
    console.show(result, form, lambda: _show_tables(result))


def _show_tables(result: "StatisticsResult") -> None:
    _show_within(result)
    _show_to_others(result)
    _show_test(result)
    _show_shape(result)
    if result.reproduction is not None:
        _show_reproduction(result, result.reproduction)


def _show_within(result: "StatisticsResult") -> None:
    columns = {"group": False, "images": True, "patients": True, "L2": True, "squared L2": True, "L1": True}
    rows = (
        (
            group.group,
            f"{group.images:,}",
            f"{group.patients:,}",
            *(_format_distance(mean, result.digits) for mean in (group.mean_l2, group.mean_squared_l2, group.mean_l1)),
        )
        for group in result.groups
    )
    console.table(f"Mean distance over all pairs of a group's images, {result.space} space", columns, rows)


def _show_to_others(result: "StatisticsResult") -> None:
    columns = {"group": False, "L2 to rest": True, "nearest finding": False, "L2 to it": True, "silhouette": True}
    rows = (
        (
            group.group,
            _format_distance(group.mean_l2_between, result.digits),
            group.nearest_finding or "",
            _format_distance(group.mean_l2_nearest, result.digits),
            "" if group.separation is None else f"{group.separation:.3f}",
        )
        for group in result.groups[1:]
    )
    console.table("Mean distance to other images", columns, rows)


def _show_test(result: "StatisticsResult") -> None:
    columns = {"group": False, "effect": True, "95% interval": True, "p": True, "p (Holm)": True}
    rows = ((group.group, *_format_test(group)) for group in result.groups[1:])
    among = f", among patients of the same {' and '.join(result.stratified)}" if result.stratified else ""
    console.table(
        f"Do a group's images cluster? {result.permutations:,} permutations of patients{among}",
        columns,
        rows,
    )
    console.text("Effect: (mean squared L2 to the rest - within) / global mean, over pairs of different patients.")


def _format_test(group: "GroupStatistics") -> tuple[str, str, str, str]:
    if group.effect is None or group.effect_low is None or group.effect_high is None:
        return "", "", "", ""
    interval = f"{group.effect_low:.4f} to {group.effect_high:.4f}"
    return f"{group.effect:.4f}", interval, _format_p(group.p_value), _format_p(group.p_holm)


def _show_shape(result: "StatisticsResult") -> None:
    ratio = "unknown" if result.participation_ratio is None else f"{result.participation_ratio:.1f}"
    console.text(
        f"{result.n:,} embeddings vary in {result.live_dims} of {result.dim} dimensions; participation ratio {ratio}."
    )
    if result.identity is not None:
        console.text(
            f"Check: the global mean squared L2 is {result.groups[0].mean_squared_l2:.2f}; for any such data it is "
            f"2 D n / (n - 1) = {result.identity:.2f}."
        )
    if result.hubness is not None:
        console.text(
            f"Hubness, k = {result.hubness.k}, other patients: skew {result.hubness.skew:.2f}, "
            f"{result.hubness.anti_hub_share:.1%} of the images are nobody's neighbour."
        )


def _show_reproduction(result: "StatisticsResult", test: "PaperTest") -> None:
    from cxrsearch.analysis.clusters.reproduce import PUBLISHED, PUBLISHED_IMAGES, SIGMAS

    columns = {"group": False, "images": True, "L2": True, "squared L2": True, "band": False, "in the paper": True}
    published = [PUBLISHED.get(group.group, (None, None))[1] for group in result.groups]
    values = (test.group_images, test.mean_l2, test.mean_squared_l2, test.verdicts, published)
    rows = (
        (group.group, f"{images:,}", _format_distance(l2), _format_distance(squared), verdict, _format_distance(theirs))
        for group, images, l2, squared, verdict, theirs in zip(result.groups, *values, strict=True)
    )
    console.text()
    console.table(f"The paper's test, unchanged, on {test.images:,} images", columns, rows)
    for line in (
        f"Band: 2 D -+ {SIGMAS:.2f} sqrt(8 D) = {test.low:.2f} to {test.high:.2f}, D = {test.live_dims}.",
        f"In the paper: squared L2 of CheXNet embeddings of {PUBLISHED_IMAGES:,} NIH images; here, both are different.",
        f"The global value is an identity: 2 D n / (n - 1) = {test.identity:.2f} for any standardised data.",
        "The band is for one pair of independent normal points, not for a mean of many.",
        "1.60 deviations are not 95%, and groups above the band were left unmarked. Use the test above.",
    ):
        console.text(line)


def _format_distance(value: float | None, digits: int = 2) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"


def _format_p(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
