"""Other people's programs as models: templates of command lines, the files that determine them, how they are run."""

import glob
import os
import shlex
import shutil
import string
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.console import Console
from typing_extensions import override

from pseudolidar.files import FormatError, InputError, UserError, file_digest
from pseudolidar.systems import supervisor
from pseudolidar.systems.stages import Resources
from pseudolidar.systems.system import Inputs, Model, Step

COMMAND_LOG = "command.log"
"""Name of the file, in a stage's folder, to which every attempt of the command appends what it prints."""

OUTPUT = "output"
"""Name of the folder, in a stage's folder, that the command writes to."""

SPLITS = ("train", "val")
"""The splits that every data set of a study has."""

CHANGED = "another content than when the study started"
AS_BEFORE = "the same; start the study again, so that it knows its stages by what is there now"
"""Found and expected, in the error about a file that determines a result."""

COMMAND_VERSION = 1
"""Raised when commands are called in another way."""

_COMMON = ("data", "train_split", "val_split", "output")
_TAIL_LINES = 20
_TAIL_BYTES = 8192


class CommandError(UserError):
    """A command that ended with another exit status than 0: the first line says so, the log's last lines follow."""


@dataclass(frozen=True)
class Command(Model):
    """A model that is somebody else's program; kinds of models add their placeholders, and their test in this process.

    Attributes:
        train, predict: templates of the commands; `train` is None if there is nothing to train.
        files: globs of what determines the result beside the templates: scripts, configurations, weights.
        directory: where the commands run, and where relative globs start.
        cpus, gpus: what each command occupies.
        resumes: whether the commands go on from what a killed run left in {output}. If not, {output} is emptied before
            they are called again: a half-written file must not pass for a result.
    """

    train: str | None
    predict: str
    files: tuple[str, ...]
    directory: str | Path
    cpus: int
    gpus: float
    resumes: bool

    def require_templates(self, others: Sequence[str]) -> set[str]:
        """Check both templates; return their placeholders, among them this kind of model's own, `others`.

        FormatError if there is no such directory, otherwise errors as `require_template`.
        """
        object.__setattr__(self, "files", tuple(self.files))
        object.__setattr__(self, "directory", Path(self.directory).resolve())
        if not Path(self.directory).is_dir():
            raise FormatError(self.directory, "folder", "nothing there", "the folder in which the commands run")
        known = (*_COMMON, *others)
        if self.train is None:
            return require_template("predict", self.predict, known, ("output",))
        in_train = require_template("train", self.train, (*known, "seed"), ("output",))
        return in_train | require_template("predict", self.predict, (*known, "model"), ("output", "model"))

    @property
    @override
    def steps(self) -> tuple[Step, ...]:
        return ("predict", "test") if self.train is None else ("train", "predict", "test")

    @override
    def resources(self, step: Step) -> Resources:
        return Resources() if step == "test" else Resources(self.cpus, self.gpus)

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        if step == "test":
            return {}
        return {"command": self.train if step == "train" else self.predict, "files": self._digests}

    def placeholders(self, inputs: Inputs) -> Mapping[str, str | Path]:
        """The values of this kind's own placeholders."""
        return {}

    def run_train(self, inputs: Inputs, folder: Path) -> None:
        """Call the command that trains; FormatError if it left nothing, else as `call`."""
        assert self.train is not None
        output = self.call(self.train, inputs, folder)
        if not any(output.iterdir()):
            raise FormatError(output, "folder", "nothing in it", "the model that the training command writes: {output}")

    def call(self, template: str, inputs: Inputs, folder: Path) -> Path:
        """Call a command and return its {output}; errors as `run_command`, or FormatError for changed files."""
        now = self._digests_now()
        for name in sorted(self._digests.keys() | now.keys()):
            if now.get(name) != self._digests.get(name):
                raise FormatError(Path(self.directory) / name, "file", CHANGED, AS_BEFORE)
        data = inputs.data.resolve()
        values: dict[str, str | Path | int] = {"data": data, "seed": inputs.seed, **self.placeholders(inputs)}
        values |= {f"{split}_split": data / "ImageSets" / f"{split}.txt" for split in SPLITS}
        if inputs.model is not None:
            values["model"] = inputs.model.resolve() / OUTPUT
        return run_command(template, values, folder, Path(self.directory), self.cpus, self.resumes)

    @cached_property
    def _digests(self) -> dict[str, str]:
        # Kept, also on the way to another process: the study knows its stages by the files as they were at its start.
        return self._digests_now()

    def _digests_now(self) -> dict[str, str]:
        directory = Path(self.directory)
        return {name: file_digest(directory / name) for name in matching_files(self.files, directory)}


def require_template(what: str, template: str, known: Collection[str], required: Collection[str]) -> set[str]:
    """The placeholders of a template: a command line with {name} for each value to fill in, and {{ }} for braces.

    Raises:
        InputError: unbalanced quotes or braces, no program, a name that is not `known`, or a `required` one missing.
    """
    try:
        words = shlex.split(template)
        fields = [field for word in words for field in string.Formatter().parse(word) if field[1] is not None]
    except ValueError as error:
        raise InputError(f"{what}: found {template!r} ({error}), expected a command line") from error
    if not words:
        raise InputError(f"{what}: found nothing, expected a command line")
    names = set()
    for _, name, form, conversion in fields:
        if name not in known or form or conversion:
            written = f"{name}{'!' + conversion if conversion else ''}{':' + form if form else ''}"
            expected = ", ".join(f"{{{one}}}" for one in known)
            raise InputError(f"{what}: found {{{written}}}, expected one of {expected}")
        names.add(str(name))
    for name in required:
        if name not in names:
            raise InputError(f"{what}: found no {{{name}}} in {template!r}, expected it")
    return names


def matching_files(patterns: Sequence[str], directory: Path) -> list[str]:
    """The files that some glob matches, as it gives them, sorted, each once; FormatError for one without a file."""
    names: set[str] = set()
    for pattern in patterns:
        matches = glob.glob(pattern, root_dir=directory, recursive=True)
        files = [name for name in matches if (directory / name).is_file()]
        if not files:
            raise FormatError(directory / pattern, "file", "nothing there", "a file that determines the result")
        names.update(files)
    return sorted(names)


def run_command(
    template: str, values: Mapping[str, str | Path | int], folder: Path, directory: Path, cpus: int, resumes: bool
) -> Path:
    """Run a command to its end and return {output}, a folder of its own in `folder`; CommandError if it fails.

    There is no shell: the template is split into words first, then the words are filled in from `values`, so that a
    path with blanks or quotes stays one word and nothing in it is interpreted. The command gets no standard input;
    OMP_NUM_THREADS is `cpus`; when this process ends, for whatever reason, the command's process group is killed.
    """
    output = folder.resolve() / OUTPUT
    if output.exists() and not resumes:
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    filled = {name: str(value) for name, value in {**values, "output": output}.items()}
    arguments = [word.format_map(filled) for word in shlex.split(template)]
    log_path = folder / COMMAND_LOG
    text = shlex.join(arguments)
    Console(stderr=True).print(f"{text}\noutput in {log_path}", markup=False, highlight=False, soft_wrap=True)
    with log_path.open("ab") as log:
        log.write(f"$ {text}\n".encode())
        log.flush()
        with subprocess.Popen(
            [sys.executable, "-I", supervisor.__file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env={**os.environ, "OMP_NUM_THREADS": str(cpus)},
        ) as process:
            status = process.wait()
    if status:
        tail = _tail(log_path)
        last = f"; its last line: {tail[-1]}" if tail else ""
        raise CommandError("\n".join([f"exit status {status} of {text}{last} (log: {log_path})", *tail]))
    return output


def _tail(path: Path) -> list[str]:
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - _TAIL_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    starts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    return [line for line in lines[starts[-1] + 1 if starts else 0 :] if line][-_TAIL_LINES:]
