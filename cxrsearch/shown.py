"""How a result shows itself at a prompt and in a notebook: one line, and its table; never all that it holds."""

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Shown(ABC):
    """For results that have a heading and a table."""

    @abstractmethod
    def heading(self) -> str:
        """What it is, in one line."""

    @abstractmethod
    def to_frame(self) -> "pd.DataFrame":
        """Its table."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.heading()}>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(self.heading())}</p>{self.to_frame().to_html(index=False, max_rows=40)}"
