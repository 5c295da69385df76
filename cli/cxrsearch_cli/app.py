"""`cxrsearch`: the commands, and what becomes of an error."""

from typing import Any

import typer
from typer.core import TyperGroup

from cxrsearch.errors import CxrsearchError, UsageError
from cxrsearch_cli import console
from cxrsearch_cli.commands import build_index, info, phantom, query, verify


class _Commands(TyperGroup):
    """Turns the library's errors into one line and an exit code: 2 for a wrong call, 1 for wrong input or data."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CxrsearchError as problem:
            console.error(problem)
            raise typer.Exit(2 if isinstance(problem, UsageError) else 1) from None
        except KeyboardInterrupt:
            console.note("interrupted — finished work is kept: run the same command again to go on")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Search and understand chest X-ray collections by their DenseNet embeddings.

    Results go to stdout (tables, or --json), progress and warnings to stderr. Exit codes: 0 done; 1 the input or data
    is wrong; 2 the call is wrong; 3 done, but some images were refused.

    Environment: CXRSEARCH_DATA (folder with images/, Data_Entry_2017*.csv and splits/; default data), CXRSEARCH_INDEX
    (default cxr-index), CXRSEARCH_WEIGHTS, CXRSEARCH_CACHE (pixel cache; default none).
    """,
)
app.command("build-index")(build_index.command)
app.command("query")(query.command)
app.command("info")(info.command)
app.command("verify")(verify.command)
app.command("phantom")(phantom.command)


def main() -> None:
    """The console script."""
    app(prog_name="cxrsearch")
