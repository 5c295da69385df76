"""An encoder that is trained, and an index of every image by it."""

from pathlib import Path

from cxrsearch.building.build import BuildResult, build_index
from cxrsearch.images.sources.source_registry import Location
from cxrsearch.progress import Progress
from cxrsearch.query.index import Index, open_index
from cxrsearch.training.request import Training
from cxrsearch.training.train import train
from cxrsearch.training.trainer import Report


def trained_index(
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
    """Train into the folder `run`, and embed all images into `index`; interrupted, the same call goes on.

    Returns:
        The index, open, and what became of the images.

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
