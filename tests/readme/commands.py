"""What the READMEs say: their code blocks, and the commands in them, in tables and in the text."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
READMES = sorted(
    path
    for path in [REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md"), *REPOSITORY.glob("pseudolidar/*/README.md")]
)
NAMES = {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a README, and what language it says it is in."""

    readme: Path
    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """What the block is to be saved as: the first comment that is a path."""
        found = re.search(r"^# ([\w/]+\.(?:py|yaml))$", self.text, re.MULTILINE)
        return found[1] if found else None


@dataclass(frozen=True)
class Command:
    """A command of the project's as somebody types it.

    Attributes:
        before: the words in front of it: `torchrun`, `docker run ...`, or none but `python`.
        name: of the script.
        arguments: after it.
    """

    before: tuple[str, ...]
    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join((*self.before, self.name, *self.arguments))


def blocks(language: str) -> list[Block]:
    """All blocks in a language, by README, from top to bottom."""
    found = []
    for readme in READMES:
        for match in _BLOCK.finditer(readme.read_text()):
            if match[1] == language:
                found.append(Block(readme, language, match[2]))
    return found


def commands() -> list[Command]:
    """All commands of all READMEs, each once."""
    lines = [line for block in blocks("bash") for line in block.text.replace("\\\n", " ").splitlines()]
    for readme in READMES:
        # In the text a name alone is only spoken of.
        quoted = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", readme.read_text()))
        lines += [line for line in quoted if len(line.split()) > 2]
    # A word such as NAME stands for something else: nothing to run.
    return list(dict.fromkeys(each for line in lines if "NAME" not in line.split() for each in _commands_in(line)))


def _commands_in(line: str) -> Iterator[Command]:
    """The commands of a line, those within its quotes too."""
    try:
        words = shlex.split(line)
    except ValueError:
        return  # a piece of text
    for place, word in enumerate(words):
        script = re.fullmatch(r"scripts/(\w+)\.py", word)
        typed = place > 0 and words[place - 1] == "pseudolidar" and word in NAMES
        if (script and script[1] in NAMES and (place or len(words) > 1)) or typed:
            before = words[:place] if script else words[: place - 1]
            yield Command(tuple(each for each in before if each != "python"), script[1] if script else word,
                          tuple(words[place + 1 :]))  # fmt: skip
            return
    for word in words:
        if " " in word:
            yield from _commands_in(word.removeprefix("$(").removesuffix(")"))
