"""What commands that train show meanwhile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrsearch_cli import console

if TYPE_CHECKING:
    from cxrsearch.training.state import EpochRecord
    from cxrsearch.training.trainer import Report, StepReport


def make_report(display: console.Display, findings: Sequence[str] | None) -> "Report":
    """A report that shows steps as progress and epochs as lines, with the AUROC of each of these findings."""
    from cxrsearch.training.trainer import StepReport

    def report(event: "StepReport | EpochRecord") -> None:
        if isinstance(event, StepReport):
            detail = f"epoch {event.epoch}  loss {event.loss:.4f}  {event.images_per_second:.1f} images/s"
            display("training", event.step, event.total, detail)
        else:
            console.note(_describe_epoch(event))
            if findings:
                scores = (f"{name} {format_score(value)}" for name, value in zip(findings, event.auroc, strict=True))
                console.note("  AUROC: " + ", ".join(scores))

    return report


def _describe_epoch(record: "EpochRecord") -> str:
    quality = f"mean AUROC {format_score(record.mean_auroc)}, " if record.auroc else ""
    return (
        f"epoch {record.epoch}: loss {record.train_loss:.4f}, validation loss {record.val_loss:.4f}, {quality}"
        f"{record.images_per_second:.1f} images/s, {record.waiting:.1%} of the time waiting for images"
    )


def format_score(value: float | None) -> str:
    """An AUROC with three decimals, or a dash if it is undefined."""
    return "-" if value is None else f"{value:.3f}"
