"""A step as a redo log: a folder of the evaluated items' new rows, which counts once it has its name.

Rows are absolute values, so that to apply them a second time changes nothing.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, saying_which_file, track
from pseudolidar.kernels import in_chunks
from pseudolidar.updates import cpu
from pseudolidar.updates.arrays import mapped, write_header
from pseudolidar.updates.confusion import ConfusionMatrix
from pseudolidar.updates.rules import CostRatio, MajorityVote, MaxBelief, MaxBeliefMinEntropy, Never, Replace, Rule

Arrays = Mapping[str, NDArray[Any]]

# Numbers of rows that are worth a thread.
_SMALLEST_CHUNK = 40_000
# Numbers of rows that are computed at once.
_NUMBERS_AT_ONCE = 1 << 22
# Some seconds' work.
_PARTS_WITHOUT_PROGRESS = 20
_RULES = {
    MaxBelief: cpu.MAX_BELIEF,
    MaxBeliefMinEntropy: cpu.MAX_BELIEF_MIN_ENTROPY,
    CostRatio: cpu.COST_RATIO,
    Replace: cpu.REPLACE,
    MajorityVote: cpu.MAJORITY_VOTE,
    Never: cpu.NEVER,
}


@dataclass(frozen=True)
class StepRecord:
    """What a finished step was.

    Attributes:
        budget: how many items were asked for.
        evaluated: how many of them were evaluated.
        changed: how many stored labels gave way to another; first labels don't count.
        rule: as text.
    """

    budget: int
    evaluated: int
    changed: int
    rule: str


@dataclass(frozen=True, eq=False)
class Step:
    """What a step did to the stored labels; memory maps, of files that stay until the next step.

    Attributes:
        items: int64 (B,), the evaluated items, ascending.
        before: int16 (B,), their stored labels until then, -1 for none.
        after: int16 (B,), their stored labels since.
    """

    items: NDArray[np.int64]
    before: NDArray[np.int16]
    after: NDArray[np.int16]


def write_step(
    folder: Path,
    arrays: Arrays,
    requested: NDArray[np.int64],
    items: NDArray[Any],
    labels: NDArray[Any],
    confusion: ConfusionMatrix,
    rule: Rule,
) -> None:
    """Compute a step's rows chunk by chunk into `folder`, which appears whole or not at all.

    Raises:
        ValueError: items that were not asked for, labels that can't be.
    """
    temporary = folder.with_suffix(".new")
    temporary.mkdir()
    try:
        with saying_which_file(folder):
            changed = _write_rows(temporary, arrays, requested, items, labels, confusion, rule)
            record = StepRecord(len(requested), len(items), changed, str(rule))
            (temporary / "record.json").write_text(json.dumps(asdict(record)))
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary)
        raise


def apply_step(folder: Path, arrays: Arrays) -> None:
    """Put a step's rows into the store's arrays, which are written to."""
    rows = {path.stem: mapped(path) for path in folder.glob("*.npy")}

    def apply(chunk: int, chunks: int) -> None:
        cpu.apply_rows(
            rows["items"],
            rows["posterior"],
            rows["entropy"],
            rows["labels"],
            rows["evaluations"],
            arrays["posterior"],
            arrays["entropy"],
            arrays["labels"],
            arrays["evaluations"],
            chunk,
            chunks,
        )
        if "votes" in arrays:
            cpu.apply_votes(rows["items"], rows["given"], rows["votes"], arrays["votes"], chunk, chunks)

    in_chunks(apply, rows["posterior"].size // _SMALLEST_CHUNK, None)


def read_step(folder: Path) -> Step:
    """The items of a step and their labels before and after it, as memory maps."""
    return Step(*(mapped(folder / f"{name}.npy") for name in ("items", "before", "labels")))


def read_record(folder: Path) -> StepRecord:
    """The record of the step in a folder."""
    return StepRecord(**json.loads((folder / "record.json").read_text()))


def drop_rows(folder: Path) -> None:
    """Remove from a step that is applied what only applying it needs."""
    for name in ("posterior", "entropy", "evaluations", "given", "votes"):
        (folder / f"{name}.npy").unlink(missing_ok=True)


def _layout(evaluated: int, arrays: Arrays) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Files of a step: dtype and shape of each."""
    of_items = {"items": "<i8", "entropy": "<f4", "before": "<i2", "labels": "<i2", "evaluations": "<u2"}
    if "votes" in arrays:
        # The votes for the given label are the only ones that change.
        of_items |= {"given": "<i2", "votes": "<u2"}
    layout = {name: (dtype, (evaluated,)) for name, dtype in of_items.items()}
    return layout | {"posterior": ("<f4", (evaluated, arrays["posterior"].shape[1]))}


def _write_rows(
    folder: Path,
    arrays: Arrays,
    requested: NDArray[np.int64],
    items: NDArray[Any],
    labels: NDArray[Any],
    confusion: ConfusionMatrix,
    rule: Rule,
) -> int:
    classes = arrays["posterior"].shape[1]
    layout = _layout(len(items), arrays)
    changed = 0
    at = 0
    with contextlib.ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.npy").open("wb")) for name in layout}
        for name, (dtype, shape) in layout.items():
            write_header(files[name], dtype, shape)
        step = max(1, _NUMBERS_AT_ONCE // classes)
        parts = [slice(first, min(first + step, len(items))) for first in range(0, len(items), step)]
        for part in parts if len(parts) <= _PARTS_WITHOUT_PROGRESS else track(parts, "evaluated items, in parts"):
            rows = {
                name: np.empty((part.stop - part.start, *shape[1:]), dtype) for name, (dtype, shape) in layout.items()
            }
            given = _checked_labels(labels[part], classes)
            rows["items"] = np.ascontiguousarray(items[part], np.int64)
            wrong, at = cpu.first_not_requested(requested, rows["items"], at)
            if wrong >= 0:
                found = f"{rows['items'][wrong]} at place {part.start + wrong}"
                raise ValueError(f"items: found {found}, expected items that were asked for, ascending, each once")
            impossible = _compute(arrays, rows, given, confusion, rule)
            if impossible >= 0:
                found = f"{given[impossible]} of item {rows['items'][impossible]}"
                expected = "one that the confusion matrix allows for a class the item may have (smoothing would help)"
                raise InputError(f"labels: found {found}, expected {expected}")
            changed += int(np.count_nonzero((rows["before"] >= 0) & (rows["before"] != rows["labels"])))
            if "given" in rows:
                rows["given"] = given
            for name, file in files.items():
                file.write(rows[name].data)
    return changed


def _compute(arrays: Arrays, rows: Arrays, given: NDArray[np.int16], confusion: ConfusionMatrix, rule: Rule) -> int:
    """Fill the rows; place of the first item whose given label can't be, -1 for none."""
    ratio = rule.ratio if isinstance(rule, CostRatio) else 1.0
    no_votes = np.empty((0, 1), np.uint16)
    no_votes.flags.writeable = False

    def compute(chunk: int, chunks: int) -> int:
        return cpu.new_rows(
            rows["items"],
            given,
            confusion.values,
            _RULES[type(rule)],
            ratio,
            arrays["posterior"],
            arrays["entropy"],
            arrays["labels"],
            arrays["evaluations"],
            arrays.get("votes", no_votes),
            rows["posterior"],
            rows["entropy"],
            rows["before"],
            rows["labels"],
            rows["evaluations"],
            rows.get("votes", np.empty(0, np.uint16)),
            chunk,
            chunks,
        )

    impossible = in_chunks(compute, rows["posterior"].size // _SMALLEST_CHUNK, None)
    return min((place for place in impossible if place >= 0), default=-1)


def _checked_labels(labels: NDArray[Any], classes: int) -> NDArray[np.int16]:
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(f"labels: found {labels[outside.argmax()]}, expected 0 to {classes - 1}")
    return labels.astype(np.int16)
