"""The vocabulary of findings: the 14 of NIH ChestX-ray14 by default, or any other list."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxrsearch.errors import UsageError, VocabularyError

NO_FINDING = "No Finding"

NIH_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""The 14 findings in the order of Wang et al. 2017 (CVPR), which CheXNet and the paper's code share."""

_SYNONYMS = {"infiltrate": "Infiltration"}  # the spelling in NIH's list of boxes


def _key(label: str) -> str:
    return "_".join(label.replace("_", " ").lower().split())


def _labels(cell: str) -> list[str]:
    return [part.strip() for part in cell.split("|") if part.strip()]


@dataclass(frozen=True)
class Vocabulary:
    """An ordered list of findings. Label matrices and the encoder's outputs have the same order.

    Attributes:
        findings: the canonical names.

    Raises:
        VocabularyError: the list is empty, repeats a name, or contains an empty name, a "|", or "No Finding".
    """

    findings: tuple[str, ...] = NIH_FINDINGS

    @classmethod
    def of(cls, findings: Sequence[str] | None) -> "Vocabulary":
        """Make the vocabulary of these findings, or of NIH's 14 if there are none."""
        return cls(tuple(findings)) if findings else cls()

    def __post_init__(self) -> None:
        keys = [_key(name) for name in self.findings]
        if not keys or "" in keys or len(set(keys)) < len(keys):
            raise VocabularyError(
                f"the list of findings must be non-empty and without repeats: got {list(self.findings)}",
                "give each finding once, as --findings a,b,c",
            )
        if _key(NO_FINDING) in keys or any("|" in name for name in self.findings):
            raise VocabularyError(
                f"a finding may not be called {NO_FINDING!r} or contain '|': got {list(self.findings)}",
                f"leave {NO_FINDING!r} out: it is what an image without findings is called",
            )

    def __len__(self) -> int:
        return len(self.findings)

    @cached_property
    def _by_key(self) -> dict[str, str]:
        names = {_key(name): name for name in self.findings}
        return {k: v for k, v in _SYNONYMS.items() if v in self.findings} | names

    def canonical(self, label: str) -> str:
        """Return the canonical name of a label. Case is ignored, a space equals `_`, and `Infiltrate` is accepted.

        Raises:
            VocabularyError: no such finding; the message lists the vocabulary.
        """
        try:
            return self._by_key[_key(label)]
        except KeyError:
            raise VocabularyError(
                f"unknown finding {label!r}; the vocabulary is {', '.join(self.findings)}",
                "correct the label, or name your own vocabulary with --findings a,b,c",
            ) from None

    def resolve(self, name: str) -> str:
        """Return the canonical name of a finding that a caller typed; see `canonical`.

        Raises:
            UsageError: no such finding; the message lists the vocabulary and suggests the nearest name.
        """
        try:
            return self.canonical(name)
        except VocabularyError as error:
            near = difflib.get_close_matches(_key(name), self._by_key, n=1, cutoff=0.5)
            fix = f"did you mean {self._by_key[near[0]]}?" if near else "choose one of these"
            raise UsageError(error.problem, fix) from None

    def unknown(self, cells: Iterable[str]) -> list[str]:
        """List the labels in a table's cells that are neither a finding nor `No Finding`, each once, in order."""
        labels = dict.fromkeys(label for cell in cells for label in _labels(cell))
        return [label for label in labels if _key(label) not in self._by_key and _key(label) != _key(NO_FINDING)]

    def parse(self, cell: str) -> tuple[str, ...]:
        """Parse a table's cell such as `Effusion|Mass` to findings in vocabulary order.

        An empty cell and `No Finding` give ().

        Raises:
            VocabularyError: a label is outside the vocabulary, or `No Finding` stands beside another label.
        """
        labels = _labels(cell)
        none = [label for label in labels if _key(label) == _key(NO_FINDING)]
        named = {self.canonical(label) for label in labels if label not in none}
        if none and named:
            raise VocabularyError(f"{NO_FINDING!r} beside a finding: got {cell!r}", "remove one of the two")
        return tuple(name for name in self.findings if name in named)

    def encode(self, findings: Iterable[Sequence[str]]) -> NDArray[np.bool_]:
        """Convert n tuples of canonical names to a label matrix, bool (n, len(self))."""
        column = {name: i for i, name in enumerate(self.findings)}
        rows = list(findings)
        matrix = np.zeros((len(rows), len(self)), dtype=np.bool_)
        for row, names in enumerate(rows):
            matrix[row, [column[name] for name in names]] = True
        return matrix

    def decode(self, row: NDArray[np.bool_]) -> tuple[str, ...]:
        """Convert one row of a label matrix, bool (len(self),), to canonical names in vocabulary order."""
        return tuple(name for name, present in zip(self.findings, row, strict=True) if present)
