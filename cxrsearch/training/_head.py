"""The head of an encoder: draw a new one if the findings differ, or train it alone on embeddings."""

from dataclasses import asdict

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from cxrsearch.encoder.checkpoint import BEST, save_checkpoint
from cxrsearch.encoder.densenet import Encoder
from cxrsearch.encoder.embed import Embedder
from cxrsearch.encoder.spec import Provenance
from cxrsearch.images.preprocess import Preprocess
from cxrsearch.progress import Progress
from cxrsearch.training._batches import Examples
from cxrsearch.training._findings_objective import finding_loss, validate
from cxrsearch.training._log import Log
from cxrsearch.training.losses import FindingLoss
from cxrsearch.training.state import EpochRecord, Position
from cxrsearch.training.trainer import LOG, Task

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Penalties on the squared weights of a head that is trained alone. The validation part chooses one."""

_Pair = tuple[NDArray[np.float32], NDArray[np.float32]]


def with_head(
    start: Encoder,
    findings: tuple[str, ...] | None,
    preprocess: Preprocess,
    *,
    seed: int,
    label: str,
    provenance: Provenance,
) -> Encoder:
    """An encoder to train: the network of `start`, and its head if it predicts these findings in this order.

    Otherwise a new head is drawn as torch does: weights uniform within 1 / sqrt(dim), biases 0.

    Args:
        start: the encoder to start from.
        findings: the findings to predict; None: no head.
        preprocess: how images are prepared.
        seed: seed of a new head.
        label: see `Encoder`.
        provenance: see `Encoder`.
    """
    tensors = start.tensors()
    if findings is None:
        tensors = {name: value for name, value in tensors.items() if not name.startswith("classifier.")}
    elif start.spec.findings != findings:
        bound = start.spec.dim**-0.5
        weight = torch.empty(len(findings), start.spec.dim)
        tensors["classifier.weight"] = weight.uniform_(-bound, bound, generator=torch.Generator().manual_seed(seed))
        tensors["classifier.bias"] = torch.zeros(len(findings))
    return Encoder(tensors, preprocess, label=label, findings=findings, provenance=provenance)


def train_head(fabric: Fabric, encoder: Encoder, task: Task, progress: Progress) -> Position:
    """Fit a head for each penalty on the embeddings of the training part, and keep the best.

    Each penalty counts as an epoch in the log and in the result.

    Raises:
        CxrsearchError: the embeddings cannot be made; see `Embedder`.
    """
    mixed = fabric.strategy.precision.precision == "bf16-mixed"
    embedder = Embedder(encoder, str(fabric.device), "bf16" if mixed else "fp32")
    train, val = (_embed(part, embedder, task.recipe.batch_size, progress) for part in (task.train, task.val))
    loss = finding_loss(task.recipe, task.train.labels, torch.device("cpu"))
    position, log = Position(), Log(task.folder / LOG, step=0)
    for penalty in PENALTIES:
        head = fit_head(train, task.train.labels, loss, penalty)
        record = _record(len(position.history) + 1, penalty, task, loss, (train, val), head)
        position.history.append(record)
        log.add({"kind": "epoch"} | asdict(record))
        if position.best is record:
            _keep(encoder, head, task, position)
    return position


def _record(number: int, penalty: float, task: Task, loss: FindingLoss, embeddings: _Pair, head: _Pair) -> EpochRecord:
    (train, val), (weight, bias) = embeddings, head
    training = validate(task.score, loss, task.train.labels, expit((train @ weight.T + bias).astype(np.float64)))
    return EpochRecord(
        epoch=number,
        step=number,
        train_loss=training["val_loss"],
        lr=penalty,
        images_per_second=0.0,
        waiting=0.0,
        **validate(task.score, loss, task.val.labels, expit((val @ weight.T + bias).astype(np.float64))),
    )


def _keep(encoder: Encoder, head: _Pair, task: Task, position: Position) -> None:
    assert encoder.classifier is not None
    with torch.no_grad():
        for parameter, value in zip((encoder.classifier.weight, encoder.classifier.bias), head, strict=True):
            parameter.copy_(torch.from_numpy(value))
    epochs = [asdict(record) for record in position.history]
    save_checkpoint(task.folder / BEST, encoder, task.extra | {"epochs": epochs, "best_epoch": len(epochs)})


def _embed(part: Examples, embedder: Embedder, batch_size: int, progress: Progress) -> NDArray[np.float32]:
    """The embeddings of the images without augmentation, float32 (n, dim)."""
    n, preprocess = len(part), embedder.spec.preprocess
    embeddings = []
    for i in range(0, n, batch_size):
        progress(f"embedding {n} images", i, n)
        batch = [preprocess.network_pixels(part.stored(row)) for row in range(i, min(i + batch_size, n))]
        embeddings.append(embedder(np.stack(batch))[0])
    progress(f"embedding {n} images", n, n)
    return np.concatenate(embeddings)


def fit_head(
    embeddings: NDArray[np.float32], labels: NDArray[np.bool_], loss: FindingLoss, penalty: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The head that minimises the loss plus penalty / 2 x the mean over findings of their squared weights.

    The penalty applies to standardised embeddings (mean 0, variance 1 over these images; constant dimensions get
    weight 0). The returned head takes plain embeddings. The solver is L-BFGS in float64 from zero, so no seed matters.

    Args:
        embeddings: (n, dim).
        labels: (n, F).
        loss: the loss, on the CPU.
        penalty: > 0.

    Returns:
        Weights, float32 (F, dim), and biases, float32 (F,).
    """
    mean, std = embeddings.mean(axis=0, dtype=np.float64), embeddings.std(axis=0, dtype=np.float64)
    scale = np.divide(1.0, std, out=np.zeros_like(std), where=std > 0)
    inputs, targets = torch.from_numpy((embeddings - mean) * scale), torch.from_numpy(labels.astype(np.float64))
    weight = torch.zeros(labels.shape[1], inputs.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        solver.zero_grad()
        value = loss(inputs @ weight.T + bias, targets) + penalty / 2 * weight.square().sum(dim=1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    plain = weight.detach().numpy() * scale
    return plain.astype(np.float32), (bias.detach().numpy() - plain @ mean).astype(np.float32)
