"""Write docs/commands/: a page a command, from what the commands say of themselves.

    python docs/pages.py

`tests/cli/test_pages.py` holds the pages against the code.
"""

import inspect
from pathlib import Path
from typing import Any

import typer

from cxrsearch_cli.app import app

FOLDER = Path(__file__).parent / "commands"


def pages() -> dict[str, str]:
    """The text of each page by its file name, and that of `README.md`, which lists them."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    listed = "".join(f"- [`cxrsearch {name}`]({name}.md): {_first_line(commands[name])}\n" for name in commands)
    return {f"{name}.md": page(name, commands[name]) for name in commands} | {
        "README.md": f"# Commands\n\nGenerated from the code by `python docs/pages.py`.\n\n{listed}"
    }


def page(name: str, command: Any) -> str:
    """One command: how it is called, what it does, its arguments and options."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = " ".join(_argument(argument) for argument in arguments)
    call = " ".join(word for word in ("cxrsearch", name, words, "[OPTIONS]") if word)
    rows = [(f"`{_argument(argument)}`", argument.help, "") for argument in arguments]
    rows += [(_flags(option), option.help, _default(option)) for option in options if option.name != "help"]
    table = "".join(f"| {flags} | {_cell(text)} | {default} |\n" for flags, text, default in rows)
    text = inspect.cleandoc(command.help)
    return f"# cxrsearch {name}\n\n    {call}\n\n{text}\n\n| | | default |\n| --- | --- | --- |\n{table}"


def _argument(argument: Any) -> str:
    name = str(argument.metavar or argument.name.upper())
    return name if argument.required else f"[{name}]"


def _flags(option: Any) -> str:
    return ", ".join(f"`{flag}`" for flag in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    value = option.default
    if value is None or value is False or callable(value) or value == []:
        return ""
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _first_line(command: Any) -> str:
    return str(inspect.cleandoc(command.help)).split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
