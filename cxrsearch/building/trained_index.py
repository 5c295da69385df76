"""Train an encoder, then build an index of every image with it."""

from pathlib import Path

from cxrsearch.building.build import BuildResult, build_index
from cxrsearch.images.sources.source_registry import Location
from cxrsearch.progress import Progress
from cxrsearch.query.index import Index, open_index
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.trainer import Report


def train_index(
    images: Location,
    labels: Path | str,
    training: Training,
    run: Path,
    index: Path,
    *,
    pixels: bool = True,
    progress: Progress,
    report: Report,
) -> tuple[Index, BuildResult]:
    """Train into the folder `run`, and embed all images into `index`. After an interruption, the same call continues.

    Args:
        images, labels: the images and their table, for both steps; see `build_index`.
        training: how to train; its findings, precision, device, workers and cache also apply to the index.
        run, index: the folder of the run, and the index directory.
        pixels: whether to keep the stored pixels in the index.
        progress, report: called as the work proceeds; see `train`.

    Returns:
        The open index, and the result of its build.

    Raises:
        CxrsearchError: as `train` and `build_index`.
    """
    train(images, labels, training, out=run, progress=progress, report=report)
    built = build_index(
        images,
        labels,
        index=index,
        weights=str(run),
        findings=training.findings,
        precision=training.precision,
        device=training.device,
        workers=training.workers,
        pixels=pixels,
        cache=training.cache,
        progress=progress,
    )
    return open_index(built.path, device=training.device), built
