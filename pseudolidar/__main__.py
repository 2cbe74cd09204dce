"""The command `pseudolidar`, also `python -m pseudolidar`: every command of `pseudolidar.commands` by its name."""

import os
import shutil
import sys
import textwrap

import pseudolidar
from pseudolidar.command_line import COMMANDS, CONFIGS, clear_errors, describe, run_command
from pseudolidar.command_line.settings import suggestion
from pseudolidar.files import InputError

_USAGE = {
    "pseudolidar COMMAND SETTING=VALUE ...": "run a command; its outputs go below the folder where you are",
    "pseudolidar COMMAND --help": "what it does, its settings and what they mean",
    "pseudolidar COMMAND --config-dir DIR ...": "with your own: DIR/experiment/mine.yaml is experiment=mine",
    'eval "$(pseudolidar -sc install=bash)"': "the Tab key completes commands and settings (or: install=fish)",
}


def main() -> None:
    """Run the command that the first argument names, with the others; without one, list the commands."""
    name, *arguments = sys.argv[1:] or ["--help"]
    with clear_errors():
        commands = _commands()
        if name in ("-h", "--help"):
            print(_overview(commands, min(100, shutil.get_terminal_size().columns)))
        elif name == "--version":
            print(f"pseudolidar {pseudolidar.__version__}")
        elif name in ("-sc", "--shell-completion"):
            _complete(commands, arguments)
        elif name in commands:
            run_command(name, arguments)
        else:
            raise InputError(f"{name}: no such command; {suggestion(name, commands)}")


def _commands() -> dict[str, str]:
    """Every command with the first line of its docstring."""
    names = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    return {name: describe(COMMANDS / f"{name}.py").partition("\n")[0] for name in names}


def _overview(commands: dict[str, str], width: int) -> str:
    title = f"pseudolidar {pseudolidar.__version__}: {pseudolidar.__doc__}"
    return f"{textwrap.fill(title, width)}\n\n{_columns(_USAGE, width)}\n\n{_columns(commands, width)}"


def _columns(lines: dict[str, str], width: int) -> str:
    """Names and what they mean, beside each other where there is room, else one below the other."""
    left = 2 + max(map(len, lines)) + 2
    is_wide = width >= 2 * left
    indent = " " * (left if is_wide else 6)
    return "\n".join(
        f"  {name}".ljust(left) + text.lstrip() if is_wide else f"  {name}\n{text}"
        for name, line in lines.items()
        for text in [textwrap.fill(line, width, initial_indent=indent, subsequent_indent=indent)]
    )


def _complete(commands: dict[str, str], arguments: list[str]) -> None:
    """Hydra's shell completion, which knows the settings of one command; the commands' names come from here."""
    program, _, line = os.environ.get("COMP_LINE", "").partition(" ")
    name, is_whole, settings = line.partition(" ")
    is_query = bool(arguments) and arguments[0].startswith("query=")
    if is_query and not (is_whole and name in commands):
        print("\n".join(commands))
    else:
        os.environ["COMP_LINE"] = f"{program} {settings}"
        run_command(name if is_query else "study", ["-sc", *arguments])


if __name__ == "__main__":
    main()
