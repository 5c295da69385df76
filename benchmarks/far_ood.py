"""What the gate of a query says of things that are no chest X-ray, and of ordinary X-rays of patients it does not know.

    python benchmarks/far_ood.py INDEX --ood DIR [--ordinary DIR]

The bank is part train of the split that the index's encoder was trained by (or of the table's), and the ordinary images
are those of part test, whose patients the bank does not hold. With --ordinary the bank is the whole index, and the
images of that folder are ordinary; those of patients whom the index holds are left out and counted. Each folder of
--ood is a group. Printed as a table: the AUROC of the distance to the k-th neighbour against the ordinary images, with
a 95% interval over patients (none below 10), and the share flagged at alarms of 0.01 and 0.05, with a 95% Wilson
interval, which takes images for independent. For ordinary images that share is the rate of false alarms.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from cxrsearch.analysis.measures.bootstrap import PatientBootstrap
from cxrsearch.analysis.neighbours.typicality import Reference, reference_rows, typicality
from cxrsearch.encoder.embed import Embedder
from cxrsearch.errors import ImageError
from cxrsearch.images.radiograph import read_radiograph
from cxrsearch.images.sources.folder import find_images
from cxrsearch.images.splits import parse_split
from cxrsearch.protocol.rows import choose_split
from cxrsearch.query.identity import identify
from cxrsearch.query.index import Index, open_index
from cxrsearch.store.filtered_search import open_vectors
from cxrsearch_indexes import Restriction

ALARMS = (0.01, 0.05)
CHILD = re.compile(r"person\d+|IM-\d+")
"""Files of the paediatric set that share it are of one child; one of them is there at two sizes."""


@dataclass(frozen=True)
class Group:
    """Embeddings float32 (n, dim), n patients, and how many files were refused, or were of patients in the bank."""

    embeddings: NDArray[np.float32]
    patients: list[str]
    refused: int = 0
    known: int = 0


class Gate:
    """The bank, bool (n,) over the rows of an index, and its reference, as an index of these images alone has it."""

    def __init__(self, index: Index, bank: NDArray[np.bool_]) -> None:
        self._vectors, self._bank = open_vectors(index.stored, "cpu"), bank
        rows = np.flatnonzero(bank)[reference_rows(int(bank.sum()), seed=0)]
        groups, k = index.catalogue.patient_groups(), index.stored.reference["k"]
        near = self._vectors.search(index.stored.vectors.take(rows), k, Restriction(bank, groups, groups[rows]))
        reference = Reference.of(near, k)
        assert reference is not None, "the bank holds one patient only"
        self.reference = reference

    def distances(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """To the k-th neighbour in the bank, float64 (n,)."""
        k = self.reference.k
        return self._vectors.search(embeddings, k, Restriction(allowed=self._bank)).last(k)

    def flagged(self, distances: NDArray[np.float64], alarm: float) -> int:
        """How many of the images at these distances are flagged."""
        return sum(bool(typicality(self.reference, float(d), alarm).flagged) for d in distances)


def embedded(index: Index, paths: Sequence[Path], *, others_only: bool) -> Group:
    """The files as the index's encoder sees them; those that cannot be read are counted."""
    embedder = Embedder(index.stored.load_encoder(), "auto", index.manifest.require_encoder()["precision"])
    rows, patients, refused, known = [np.empty((0, index.manifest.dim), np.float32)], [], 0, 0
    for path in paths:
        try:
            radiograph = read_radiograph(path)
        except ImageError:
            refused += 1
            continue
        identity = identify(index.stored, path, radiograph)
        if others_only and identity.patient_rows.any():
            known += 1
            continue
        spec = embedder.spec.preprocess
        rows.append(embedder(spec.network_pixels(spec.stored_pixels(radiograph.pixels))[np.newaxis])[0])
        child = CHILD.search(path.name)
        patients.append(identity.patient or (child[0] if child else f"file {path}"))
    return Group(np.concatenate(rows), patients, refused, known)


def ordinary_images(index: Index, folder: Path | None) -> tuple[NDArray[np.bool_], Group, str]:
    """The bank, bool (n,), the ordinary images, and what they are, in words."""
    if folder is not None:
        everything = np.ones(len(index), dtype=np.bool_)
        return everything, embedded(index, find_images(folder), others_only=True), "the folder --ordinary"
    split = parse_split(choose_split(index.catalogue, index.manifest.encoder, index.manifest.split_definition))
    rows = split.rows(index.catalogue, "test")
    patients = [index.catalogue.patients[row] for row in rows]
    bank = split.assign(index.catalogue) == "train"
    return bank, Group(index.stored.vectors.take(rows), patients), f"part test of split {split.definition}"


def share(flagged: int, n: int) -> str:
    """A share with its interval."""
    interval = binomtest(flagged, n).proportion_ci(method="wilson")
    return f"{flagged / n:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def auroc(group: Group, ordinary: Group, far: NDArray[np.float64], near: NDArray[np.float64]) -> str:
    """How well distances tell the group from ordinary images, with its interval."""
    labels = np.repeat([True, False], [len(far), len(near)])[:, None]
    scores = np.concatenate([far, near])[:, None]
    got = PatientBootstrap([f"group {p}" for p in group.patients] + ordinary.patients).auroc(labels, scores)
    interval = f" [{got.low[0]:.3f}, {got.high[0]:.3f}]" if got.usable[0] else ""
    return f"{got.point[0]:.3f}{interval}"


def line(name: str, gate: Gate, group: Group, ordinary: Group) -> str:
    """One row of the table."""
    n = len(group.embeddings)
    counts = f"| {name} | {n}, {len(set(group.patients))} | {group.refused} |"
    if not n:
        return f"{counts} | | |"
    distances = gate.distances(group.embeddings)
    flags = " | ".join(share(gate.flagged(distances, alarm), n) for alarm in ALARMS)
    told = "" if group is ordinary else auroc(group, ordinary, distances, gate.distances(ordinary.embeddings))
    return f"{counts} {flags} | {told} |"


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--ood", type=Path, required=True)
    parser.add_argument("--ordinary", type=Path)
    options = parser.parse_args()
    index = open_index(options.index)
    bank, ordinary, words = ordinary_images(index, options.ordinary)
    gate = Gate(index, bank)
    print(f"bank {int(bank.sum())} images, encoder {index.manifest.encoder_label}, k = {gate.reference.k}")
    print(f"ordinary: {words}, {ordinary.known} images of the bank's patients left out")
    print("| group | images, patients | refused | at 0.01 | at 0.05 | AUROC |\n| --- | --- | --- | --- | --- | --- |")
    print(line("ordinary: false alarms", gate, ordinary, ordinary), flush=True)
    for folder in sorted(path for path in options.ood.iterdir() if path.is_dir()):
        print(line(folder.name, gate, embedded(index, find_images(folder), others_only=False), ordinary), flush=True)


if __name__ == "__main__":
    main()
