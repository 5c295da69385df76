"""All errors that the library raises on purpose.

    CxrsearchError                 something is wrong with the input, the data or the set-up
    ├── UsageError                 an invalid argument (k = 0, an unknown metric, two options that exclude each other)
    ├── ImageError                 an image file that cannot be used, with the reason
    ├── CatalogueError             a table of images that cannot be used
    │   ├── VocabularyError        a label that is not a finding of the vocabulary
    │   └── SplitError             a split that is undefined, empty, or shares patients between its parts
    ├── CheckpointError            weights that cannot be loaded, or that are not what they claim to be
    ├── StoreError                 an index directory that cannot be read or written
    │   ├── IntegrityError         a file whose bytes differ from the manifest
    │   ├── FormatVersionError     an index written by a newer cxrsearch
    │   ├── LockedError            another builder is at work
    │   └── EncoderMismatchError   an index and a query that use different encoders
    ├── WriteError                 a file that cannot be written: a read-only folder, a full disk
    ├── RequestError               a request that the page's server refuses, with the HTTP status
    └── MissingDependencyError     an optional package that is not installed

A message is one line: what is wrong, what was found, and the fix. The command line turns `UsageError` into exit code 2,
and all the others into exit code 1. It never shows a traceback for them.
"""


class CxrsearchError(Exception):
    """The base class: something is wrong with the input, the data or the set-up, not with the program.

    `str()` gives both attributes on one line.

    Attributes:
        problem: what is wrong and what was found.
        fix: what the user can do; may be empty.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        self.problem = " ".join(problem.split())  # messages of other libraries may contain line breaks
        self.fix = " ".join(fix.split())
        super().__init__(self.problem, self.fix)

    def __str__(self) -> str:
        return f"{self.problem} — {self.fix}" if self.fix else self.problem


class UsageError(CxrsearchError):
    """An invalid argument: an impossible number, an unknown name, or options that exclude each other."""


class ImageError(CxrsearchError):
    """An image file, or decoded pixels, that cannot be used. The message gives the reason."""


class CatalogueError(CxrsearchError):
    """A table of images that cannot be used."""


class VocabularyError(CatalogueError):
    """A label that is not a finding of the vocabulary."""


class SplitError(CatalogueError):
    """A split that is undefined, empty, or shares patients between its parts."""


class CheckpointError(CxrsearchError):
    """Weights that cannot be loaded, or that are not what they claim to be."""


class StoreError(CxrsearchError):
    """An index directory that cannot be read or written."""


class IntegrityError(StoreError):
    """A file of an index whose bytes differ from the manifest."""


class FormatVersionError(StoreError):
    """An index written by a newer cxrsearch."""


class LockedError(StoreError):
    """Another builder holds the lock of the index directory."""


class EncoderMismatchError(StoreError):
    """An index and a query that use different encoders."""


class WriteError(CxrsearchError):
    """A file that cannot be written: a read-only folder, or a full disk."""


class RequestError(CxrsearchError):
    """A request that the page's server refuses.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, problem: str, fix: str = "") -> None:
        super().__init__(problem, fix)
        self.status = status


class MissingDependencyError(CxrsearchError):
    """An optional package that is not installed."""
