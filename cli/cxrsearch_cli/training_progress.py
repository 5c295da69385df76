"""What commands that train show while they do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cxrsearch_cli import console

if TYPE_CHECKING:
    from cxrsearch.training.state import EpochRecord
    from cxrsearch.training.trainer import Report, StepReport


def reporting(display: console.Display, findings: Sequence[str] | None) -> "Report":
    """Show steps as progress, and epochs as lines, with the AUROC of each finding where these are named."""
    from cxrsearch.training.trainer import StepReport

    def report(event: "StepReport | EpochRecord") -> None:
        if isinstance(event, StepReport):
            detail = f"epoch {event.epoch}  loss {event.loss:.4f}  {event.images_per_second:.1f} images/s"
            display("training", event.step, event.total, detail)
        else:
            console.note(_epoch_line(event))
            if findings:
                scores = (f"{name} {score(value)}" for name, value in zip(findings, event.auroc, strict=True))
                console.note("  AUROC: " + ", ".join(scores))

    return report


def _epoch_line(record: "EpochRecord") -> str:
    quality = f"mean AUROC {score(record.mean_auroc)}, " if record.auroc else ""
    return (
        f"epoch {record.epoch}: loss {record.train_loss:.4f}, validation loss {record.val_loss:.4f}, {quality}"
        f"{record.images_per_second:.1f} images/s, {record.waiting:.1%} of it waiting"
    )


def score(value: float | None) -> str:
    """An AUROC, or a dash."""
    return "-" if value is None else f"{value:.3f}"
