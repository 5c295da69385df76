"""How a result appears at a prompt (one line) and in a notebook (its table). Its full content is never printed."""

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Shown(ABC):
    """The base class of results that have a heading and a table."""

    @abstractmethod
    def heading(self) -> str:
        """Describe the result in one line."""

    @abstractmethod
    def to_frame(self) -> "pd.DataFrame":
        """Return the result's main table."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.heading()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.heading())}</p>{self.to_frame().to_html(index=False, max_rows=40)}"
