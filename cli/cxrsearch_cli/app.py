"""`cxrsearch`: the commands, and how an error ends one."""

import errno
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cxrsearch.errors import CxrsearchError, UsageError, WriteError
from cxrsearch_cli import console
from cxrsearch_cli.commands import (
    build_index,
    draw_map,
    evaluate,
    evaluate_localisation,
    import_embeddings,
    info,
    localise,
    novelty,
    phantom,
    query,
    serve,
    statistics,
    train,
    tune,
    verify,
)
from cxrsearch_cli.options import unwrap

_WrongCall: Any = typer.BadParameter.__mro__[2]  # the base class of all usage errors; its module depends on the version


class _Commands(TyperGroup):
    """Turns errors into one line and an exit code: 2 wrong usage, 1 wrong input or data, 130 interrupted."""

    def invoke(self, ctx: Any) -> Any:
        try:
            super().invoke(ctx)
            sys.stdout.flush()
        except CxrsearchError as problem:
            console.error(problem)
            raise typer.Exit(2 if isinstance(problem, UsageError) else 1) from None
        except KeyboardInterrupt:
            console.note(
                "interrupted — run it again: build-index, train, tune, evaluate --cv and novelty --retrain continue"
            )
            raise typer.Exit(130) from None
        except _WrongCall as problem:
            console.error(UsageError(problem.format_message(), "see --help"))
            raise typer.Exit(problem.exit_code) from None
        except OSError as problem:
            if problem.errno != errno.ENOSPC:
                raise
            console.error(WriteError("cannot write the result: the disk is full", "free some space"))
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=unwrap("""Search and understand chest X-ray collections by their DenseNet embeddings.

    Results go to stdout (tables, or --json), progress and warnings to stderr. Exit codes: 0 done; 1 the input or data
    is wrong; 2 the usage is wrong; 3 done, but some images were refused.

    Environment: CXRSEARCH_DATA (folder with images/, Data_Entry_2017*.csv and splits/; default data), CXRSEARCH_INDEX
    (default cxr-index), CXRSEARCH_WEIGHTS, CXRSEARCH_CACHE (pixel cache; default none).
    """),
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from cxrsearch import __version__

        console.text(f"cxrsearch {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


app.command("build-index")(build_index.command)
app.command("import-embeddings")(import_embeddings.command)
app.command("query")(query.command)
app.command("localise")(localise.command)
app.command("serve")(serve.command)
app.command("evaluate")(evaluate.command)
app.command("evaluate-localisation")(evaluate_localisation.command)
app.command("statistics")(statistics.command)
app.command("novelty")(novelty.command)
app.command("map")(draw_map.command)
app.command("info")(info.command)
app.command("verify")(verify.command)
app.command("train")(train.command)
app.command("tune")(tune.command)
app.command("phantom")(phantom.command)


def main() -> None:
    """Run a command; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    app(prog_name="cxrsearch")
