"""A Dockerfile as its build stages and their instructions, read with dockerfile-parse."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser  # type: ignore[import-untyped]

REPOSITORY = Path(__file__).parents[2]
DOCKERFILE = REPOSITORY / "docker" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction: `COPY --link --from=a b c` has the name COPY, two flags and the value `b c`."""

    name: str
    flags: Mapping[str, tuple[str, ...]]
    value: str
    line: int

    def words(self) -> list[str]:
        """The value's words; of the JSON form (CMD ["a", "b"]) its strings."""
        if self.value.startswith("["):
            words = json.loads(self.value)
            assert all(isinstance(word, str) for word in words)
            return list(words)
        return self.value.split()


@dataclass(frozen=True)
class BuildStage:
    """A stage: FROM base AS name, and what follows."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)


def read_stages(path: Path) -> dict[str, BuildStage]:
    """A Dockerfile's stages by name, in its order."""
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()))
    stages: dict[str, BuildStage] = {}
    for entry in parser.structure:
        name = entry["instruction"].upper()
        if name == "COMMENT":
            continue
        flags, value = _split_flags(entry["value"])
        instruction = Instruction(name, flags, value, entry["startline"] + 1)
        if name == "FROM":
            base, _as, stage = instruction.words()
            stages[stage] = BuildStage(stage, base)
        else:
            stages[list(stages)[-1]].instructions.append(instruction)
    return stages


def lineage(stages: Mapping[str, BuildStage], target: str) -> list[BuildStage]:
    """The stage and those it is made FROM, the first of them first."""
    stage = stages[target]
    return [*(lineage(stages, stage.base) if stage.base in stages else []), stage]


def sent_to_build(root: Path, paths: list[Path], patterns: list[str]) -> list[Path]:
    """Which of the checkout's files the build sees: of a .dockerignore's lines the last that matches a path decides.

    Args:
        root: the checkout.
        paths: files in it.
        patterns: the lines of the .dockerignore.
    """
    rules = [line.strip() for line in patterns if line.strip() and not line.startswith("#")]
    expressions = [(not rule.startswith("!"), _expression(rule.removeprefix("!"))) for rule in rules]
    sent = []
    for path in paths:
        ignored = False
        for ignores, expression in expressions:
            if expression.fullmatch(path.relative_to(root).as_posix()):
                ignored = ignores
        if not ignored:
            sent.append(path)
    return sent


def _split_flags(value: str) -> tuple[dict[str, tuple[str, ...]], str]:
    flags: dict[str, tuple[str, ...]] = {}
    while match := re.match(r"--([a-z-]+)(?:=(\S+))?\s+", value):
        flags[match[1]] = (*flags.get(match[1], ()), match[2] or "")
        value = value[match.end() :]
    return flags, value


def _expression(pattern: str) -> re.Pattern[str]:
    # A pattern names a file, or a folder with all that is in it. `**` is any number of folders.
    parts = re.split(r"(\*\*/|\*)", pattern.strip("/"))
    return re.compile(
        "".join({"**/": "(?:.*/)?", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts) + "(?:/.*)?"
    )
