"""A step as a redo log: a folder of the evaluated items' new rows, which counts once it has its name.

Rows are absolute values, so that to apply them a second time changes nothing.
"""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, track
from pseudolidar.kernels import in_chunks
from pseudolidar.updates import cpu
from pseudolidar.updates.evidence import Classifier, evidence_of
from pseudolidar.updates.layout import StepRecord, header, mapped, new_folder
from pseudolidar.updates.measures import require_classes
from pseudolidar.updates.rules import CostRatio, FlipCosts, Rule

Arrays = Mapping[str, NDArray[Any]]
Result = TypeVar("Result")

# Numbers of rows that are worth a thread.
_SMALLEST_CHUNK = 40_000
# Numbers of rows that are computed at once.
_NUMBERS_AT_ONCE = 1 << 22
# Some seconds' work.
_PARTS_WITHOUT_PROGRESS = 20


@dataclass(frozen=True, eq=False)
class UpdateStep:
    """The labels of the evaluated `items` (B,), ascending, before and after a step (B,), -1 for none.

    Memory maps of files that stay until the next step.
    """

    items: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]

    @classmethod
    def read(cls, folder: Path) -> "UpdateStep":
        """The step in a folder."""
        return cls(*(mapped(folder / f"{name}.npy") for name in ("items", "before", "labels")))


def write_step(
    folder: Path,
    step: int,
    arrays: Arrays,
    requested: NDArray[np.int64],
    items: NDArray[Any],
    predicted: NDArray[Any],
    classifier: Classifier,
    rule: Rule,
) -> None:
    """Compute a step's rows in chunks into `folder`, which appears whole or not at all.

    ValueError for items that were not requested and labels that are impossible.
    """
    classes = arrays["posterior"].shape[1]
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "items": ("<i8", ()),
        "posterior": ("<f4", (classes,)),
        "entropy": ("<f4", ()),
        "before": ("<i2", ()),
        "labels": ("<i2", ()),
        "evaluations": ("<u2", ()),
    }
    if "votes" in arrays:
        # The votes for the predicted label are the only ones that change.
        layout |= {"given": ("<i2", ()), "votes": ("<u2", ())}
    if "last" in arrays:
        layout["last"] = "<i4", ()
    number, costs = get_args(Rule).index(type(rule)), _flip_costs(rule)
    size = max(1, _NUMBERS_AT_ONCE // classes)
    parts: Iterable[slice] = [slice(first, first + size) for first in range(0, len(items), size)]
    if len(items) > size * _PARTS_WITHOUT_PROGRESS:
        parts = track(parts, "evaluated items, in parts")
    changed = at = 0
    with contextlib.ExitStack() as stack:
        new = stack.enter_context(new_folder(folder))
        files = {name: stack.enter_context((new / f"{name}.npy").open("wb")) for name in layout}
        for name, (dtype, shape) in layout.items():
            files[name].write(header(dtype, (len(items), *shape)))
        for part in parts:
            said = predicted[part]
            given = (said if said.ndim == 1 else said.argmax(axis=1)).astype(np.int16)
            require_classes("labels", said if said.ndim == 1 else given, classes)
            rows = {name: np.empty((len(given), *shape), dtype) for name, (dtype, shape) in layout.items()}
            rows["items"][:] = items[part]
            wrong, at = cpu.first_not_requested(requested, rows["items"], at)
            if wrong >= 0:
                found = f"{rows['items'][wrong]} at place {part.start + wrong}"
                raise ValueError(f"items: found {found}, expected items that were asked for, ascending, each once")
            last = arrays["last"][rows["items"]] if "last" in arrays else None
            evidence = evidence_of(classifier, said, last)
            columns = _columns(arrays, (0, 1)), _columns(rows, (0,))
            compute = partial(cpu.new_rows, rows["items"], given, *evidence, number, *costs, *columns)
            for place in _in_chunks(partial(compute, rows["before"]), rows):
                if place >= 0:
                    found = f"{given[place]} of item {rows['items'][place]}"
                    expected = "one that the confusion matrix allows for a class the item may have"
                    raise InputError(f"labels: found {found}, expected {expected} (smoothing would help)")
            changed += int(np.count_nonzero((rows["before"] >= 0) & (rows["before"] != rows["labels"])))
            if "given" in rows:
                rows["given"] = given
            if "last" in rows:
                rows["last"][:] = step * classes + given.astype(np.int32)
            for name, file in files.items():
                file.write(rows[name].data)
        record = StepRecord(len(requested), len(items), changed, str(rule))
        (new / "record.json").write_text(json.dumps(asdict(record)))


def apply_step(folder: Path, arrays: Arrays) -> None:
    """Write a step's rows into the store's arrays."""
    rows = {path.stem: mapped(path) for path in folder.glob("*.npy")}
    predicted = rows.get("given", rows["labels"])
    columns = _columns(rows, (0,)), _columns(arrays, (0, 1))
    _in_chunks(partial(cpu.apply_rows, rows["items"], predicted, *columns), rows)


def read_record(folder: Path) -> StepRecord:
    """The record of the step in a folder."""
    return StepRecord(**json.loads((folder / "record.json").read_text()))


def drop_rows(folder: Path) -> None:
    """Remove from an applied step the files that only `apply_step` needs."""
    for name in ("posterior", "entropy", "evaluations", "given", "votes", "last"):
        (folder / f"{name}.npy").unlink(missing_ok=True)


def _flip_costs(rule: Rule) -> tuple[float, float]:
    """Of a negative and a neutral flip, for the rules that weigh them."""
    if isinstance(rule, FlipCosts):
        return float(rule.negative), float(rule.neutral)
    return (float(rule.ratio) if isinstance(rule, CostRatio) else 1.0), 0.0


def _columns(arrays: Arrays, no_votes: tuple[int, ...]) -> cpu.Columns:
    """The arrays as kernels take them; `no_votes` is the shape of the votes where none are kept."""
    nothing: Arrays = {"votes": np.empty(no_votes, np.uint16), "last": np.empty(0, np.int32)}
    for array in nothing.values():
        # As the others are: kernels are compiled anew for arrays that are read-only.
        array.flags.writeable = arrays["posterior"].flags.writeable
    return cpu.Columns(*({**nothing, **arrays}[name] for name in cpu.Columns._fields))


def _in_chunks(kernel: Callable[[int, int], Result], rows: Arrays) -> list[Result]:
    return in_chunks(kernel, rows["posterior"].size // _SMALLEST_CHUNK, None)
