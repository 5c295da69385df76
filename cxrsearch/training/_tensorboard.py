"""The TensorBoard log of a run; it needs the extra `tensorboard`."""

from collections.abc import Sequence
from pathlib import Path

from cxrsearch.errors import MissingDependencyError
from cxrsearch.training.state import EpochRecord
from cxrsearch.training.trainer import Report, StepReport

FOLDER = "tensorboard"
_EVERY = 10


def tensorboard_report(folder: Path, findings: Sequence[str], step: int) -> Report:
    """A report that writes every tenth step and every epoch to `folder`/tensorboard.

    Args:
        folder: the run's folder.
        findings: names of the AUROC curves.
        step: steps done so far. Later steps of an interrupted session are hidden.

    Raises:
        MissingDependencyError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise MissingDependencyError(
            "TensorBoard is not installed", "pip install 'cxrsearch[tensorboard]', or leave --tensorboard out"
        ) from error
    writer = SummaryWriter(str(folder / FOLDER), purge_step=step + 1)

    def report(event: StepReport | EpochRecord) -> None:
        if isinstance(event, EpochRecord):
            for name, value in _of_epoch(event, findings).items():
                writer.add_scalar(name, value, event.step)
            writer.flush()
        elif event.step % _EVERY == 0:
            for name in ("loss", "lr", "images_per_second", "waiting"):
                writer.add_scalar(f"step/{name}", getattr(event, name), event.step)

    return report


def _of_epoch(record: EpochRecord, findings: Sequence[str]) -> dict[str, float]:
    scores = {f"auroc/{name}": value for name, value in zip(findings, record.auroc, strict=True)}
    values = {
        "loss/training": record.train_loss,
        "loss/validation": record.val_loss,
        "auroc/mean": record.mean_auroc,
        **scores,
    }
    return {name: value for name, value in values.items() if value is not None}
