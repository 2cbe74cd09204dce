"""What `NAME --help` shows: what the command does, and its configuration as it was written, with what it says there."""

import ast
import re
import textwrap
from itertools import takewhile
from pathlib import Path

_CHOICE = re.compile(r"- ((\w+)[\w/@.-]*): ([\w/]+) *(# .*)?")


def describe(module: Path) -> str:
    """The docstring of a command's module, which is not imported for it: that may take seconds."""
    return ast.get_docstring(ast.parse(module.read_text())) or ""


def command_help(module: Path, configs: Path) -> str:
    """A command's docstring, its settings with their defaults and comments, and the groups that it takes files of.

    Args:
        module: of the command, NAME.py.
        configs: the folder of configurations.
    """
    name = module.stem
    lines = (configs / f"{name}.yaml").read_text().splitlines()
    # What stands before `defaults:`, or shows the command's use, is said by the docstring already.
    header = takewhile(lambda line: line.startswith("#"), lines)
    uses = [place for place, line in enumerate(header) if f"pseudolidar {name} " in line]
    first = lines.index("defaults:") if "defaults:" in lines else max(uses, default=-1)
    last = next(place for place in range(first + 1, len(lines)) if re.match(r"[^ ]|$", lines[place]))
    settings = "\n".join(line for line in lines[last:] if not line.strip().startswith("_target_:"))
    parts = [describe(module), "Settings, NAME=VALUE; a dot goes inside of one:", settings.strip("\n")]
    if choices := [found for line in lines[first + 1 : last] if (found := _CHOICE.fullmatch(line.strip()))]:
        parts += ["Files of settings, GROUP@PLACE=FILE:", "\n".join(map(_choice, choices))]
        parts.append("\n".join(_files(configs / group) for group in dict.fromkeys(found[2] for found in choices)))
    example = f"pseudolidar {name} SETTING=VALUE ... --cfg job"
    return "\n\n".join([*parts, f"With all files put together, as the command would run: {example}"])


def _choice(found: re.Match[str]) -> str:
    place, _, chosen, comment = found.groups()
    text = f"{place.removesuffix('@_here_')}={chosen}"
    return f"{text:<36} {comment}" if comment else text


def _files(group: Path) -> str:
    files = ", ".join(str(each.relative_to(group).with_suffix("")) for each in sorted(group.rglob("*.yaml")))
    return textwrap.fill(f"{group.name}: {files}", 100, subsequent_indent="    ", break_on_hyphens=False)
