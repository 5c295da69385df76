"""An encoder with a head, as a file, without a training: random weights and a head that is known."""

from pathlib import Path

import torch

from cxrsearch.encoder.checkpoint import save_checkpoint
from cxrsearch.encoder.densenet import Encoder, draw_tensors
from cxrsearch.encoder.spec import UNKNOWN, Provenance
from cxrsearch.images.findings import NIH_FINDINGS
from cxrsearch.images.preprocess import Preprocess


def trained_encoder(size: int = 64, provenance: Provenance = UNKNOWN) -> Encoder:
    """DenseNet-121 from random weights, its head drawn from a seed."""
    tensors = draw_tensors("densenet121", 0)
    generator = torch.Generator().manual_seed(1)
    tensors["classifier.weight"] = torch.randn(14, 1024, generator=generator) / 32
    tensors["classifier.bias"] = torch.randn(14, generator=generator)
    preprocess = Preprocess.for_size(size)
    return Encoder(tensors, preprocess, label="made", findings=NIH_FINDINGS, provenance=provenance)


def trained_file(path: Path, size: int = 64, provenance: Provenance = UNKNOWN) -> str:
    """The same as a file, for `--weights`."""
    save_checkpoint(path, trained_encoder(size, provenance))
    return str(path)
