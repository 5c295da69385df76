"""Options as objects: a command takes one frozen dataclass, and what several commands share is declared here, once."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from cxrsearch.errors import UsageError
from cxrsearch_cli.console import Form
from cxrsearch_cli.inputs import split_names

INDEX = "Index"
COMPUTING = "Computing"
OUTPUT = "Output"


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Turn a command that takes a dataclass of options into one that typer can read.

    The annotation of the parameter `options` is a frozen dataclass. Each of its fields becomes an argument or an option
    of the command, declared as `Annotated[type, typer.Option(...)] = default`. Other parameters, such as a
    `typer.Context`, stay. Panels come last, one after the other, as in the help.
    """
    kind = command.__annotations__["options"]
    hints = get_type_hints(kind, include_extras=True)
    unordered = [_make_parameter(field, hints[field.name]) for field in fields(kind)]
    panels = ["", *dict.fromkeys(_read_panel(parameter) for parameter in unordered)]
    parameters = sorted(unordered, key=lambda parameter: panels.index(_read_panel(parameter)))
    others = [parameter for name, parameter in inspect.signature(command).parameters.items() if name != "options"]

    @wraps(command)
    def run(**values: Any) -> None:
        options = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(options, **values)

    run.__signature__ = inspect.Signature([*others, *parameters])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*others, *parameters)}
    run.__doc__ = unwrap(command.__doc__ or "")
    return run


def _make_parameter(field: Any, annotation: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read_panel(parameter: inspect.Parameter) -> str:
    """The panel of the help that shows a parameter; "" for the first."""
    return next((declared.rich_help_panel or "" for declared in get_args(parameter.annotation)[1:]), "")


def unwrap(text: str) -> str:
    """Each paragraph on one line: the help wraps it to the terminal, and would keep the line ends of the source."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in inspect.cleandoc(text).split("\n\n"))


def select_arguments(target: Callable[..., Any], options: object) -> dict[str, Any]:
    """The options, by name, that a function or a class takes under the same name."""
    accepted = inspect.signature(target).parameters
    return {field.name: getattr(options, field.name) for field in fields(options) if field.name in accepted}  # type: ignore[arg-type]


def refuse_ignored(
    context: typer.Context, options: object, names: tuple[str, ...], why: str, instead: str = ""
) -> None:
    """Raise UsageError if one of these options is on the command line; its default value does no harm there.

    Args:
        context: knows where each value comes from; one from the environment is for all commands, so it is no mistake.
        options, names: the command's options, and the names of those without effect.
        why, instead: the end of the problem, and of the fix.
    """
    defaults = {field.name: field.default for field in fields(options)}  # type: ignore[arg-type]
    flags = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in names:
        source, option = context.get_parameter_source(name), flags[name]
        if source is not None and source.name == "COMMANDLINE" and getattr(options, name) != defaults[name]:
            raise UsageError(f"{option} has no effect {why}", f"leave {option} out{instead}")


def declare_table(note: str) -> Any:
    """The option --labels, with a note on when a command needs it."""
    columns = "image, patient, findings (and optionally view, sex, age, split)"
    return typer.Option(
        "--labels", help=f"NIH's Data_Entry CSV, or a CSV with the columns {columns}. {note}", show_default=False
    )


def _declare_json(panel: str | None = None) -> Any:
    return typer.Option("--json", help="Print one JSON object on stdout instead of tables.", rich_help_panel=panel)


def _declare_device(panel: str | None = None) -> Any:
    text = "auto, cpu, cuda or cuda:N. FAISS kinds that run on a GPU use it too."
    return typer.Option(help=text, rich_help_panel=panel)


IndexOption = Annotated[
    Path | None,
    typer.Option(
        "--index", help="The index directory. Default: $CXRSEARCH_INDEX, else ./cxr-index.", show_default=False
    ),
]
LabelsOfImages = Annotated[Path | None, declare_table("Needed with IMAGES; an index contains its labels.")]
Findings = Annotated[
    str | None,
    typer.Option("--findings", help="The findings to use instead of NIH's 14, as a,b,c.", show_default=False),
]
AsJson = Annotated[bool, _declare_json()]
Replicates = Annotated[int, typer.Option(help="Replicates of the patient bootstrap.", min=1, metavar="N")]
Device = Annotated[str, _declare_device()]
DeviceInPanel = Annotated[str, _declare_device(COMPUTING)]
AllowSeen = Annotated[
    bool,
    typer.Option(
        "--allow-seen", help="Also score images that the encoder was trained on. The result says that it did."
    ),
]


@dataclass(frozen=True, kw_only=True)
class IndexDirectory:
    """The index of a command that takes it as an argument or as an option."""

    directory: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="The index directory, as with --index.", show_default=False)
    ] = None
    index: IndexOption = None
    as_json: AsJson = False


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How an index is searched."""

    kind: Annotated[
        str,
        typer.Option(
            help="How to search: exact and faiss-flat find every neighbour; faiss-hnsw is faster and misses some.",
            metavar="KIND",
            rich_help_panel=INDEX,
        ),
    ] = "exact"
    metric: Annotated[
        Literal["l2", "ip", "cosine"],
        typer.Option(
            help="Distance: l2 (not squared), ip (negated inner product) or cosine (1 - cosine).",
            metavar="METRIC",
            rich_help_panel=INDEX,
        ),
    ] = "l2"


@dataclass(frozen=True, kw_only=True)
class DatasetOptions:
    """A folder of images, its table, and the findings to read from the table."""

    images: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGES",
            help="Folder of PNG, JPEG or DICOM files, searched with its sub-folders. "
            "Default: images/ in $CXRSEARCH_DATA (else ./data), with the Data_Entry_2017*.csv beside it.",
            show_default=False,
        ),
    ] = None
    labels: Annotated[Path | None, declare_table("Without it, findings are unknown and nothing can vote.")] = None
    findings: Findings = None

    def vocabulary(self) -> tuple[str, ...] | None:
        """The names in --findings; None for NIH's."""
        return split_names(self.findings) or None


@dataclass(frozen=True, kw_only=True)
class EncoderOptions:
    """Which encoder to use, or to start a training from."""

    weights: Annotated[
        str | None,
        typer.Option(
            help="A checkpoint, the folder of a run, imagenet, or random:SEED. "
            "Default: $CXRSEARCH_WEIGHTS, else the newest run in ./runs, else imagenet.",
            show_default=False,
        ),
    ] = None
    arch: Annotated[
        str | None,
        typer.Option(help="densenet121, 169 or 201. Default: that of the weights or the recipe.", show_default=False),
    ] = None
    size: Annotated[
        int | None,
        typer.Option(help="Side of the network's input in pixels. Default: the recipe's.", show_default=False),
    ] = None


@dataclass(frozen=True, kw_only=True)
class FormOptions:
    """In which form a result is printed."""

    as_json: Annotated[bool, _declare_json(OUTPUT)] = False
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.", rich_help_panel=OUTPUT)] = False

    def form(self) -> Form:
        """The form that was chosen. Raises UsageError if there are several."""
        flags: dict[str, Form] = {"as_json": "json", "as_csv": "csv", "as_latex": "latex"}
        chosen = [form for flag, form in flags.items() if getattr(self, flag, False)]
        if len(chosen) > 1:
            raise UsageError("several forms of output", "give one of --json, --csv and --latex")
        return chosen[0] if chosen else "tables"


@dataclass(frozen=True, kw_only=True)
class PaperFormOptions(FormOptions):
    """The same, with LaTeX for a paper."""

    as_latex: Annotated[
        bool, typer.Option("--latex", help="Print a LaTeX table on stdout.", rich_help_panel=OUTPUT)
    ] = False
