"""One step of a prediction store, selection and update, beside the time that its bytes alone take."""

import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.files import InputError
from pseudolidar.kernels import in_chunks
from pseudolidar.tables import Row, Table, print_tables
from pseudolidar.updates import Classifier, ConfusionMatrix, CostRatio, Discounted, MaxBelief, PredictionStore, Rule

_ARRAYS = ("posterior", "entropy", "labels", "evaluations", "last")
_STEPS: dict[str, tuple[str, Rule]] = {
    "highest entropy, MaxBelief": ("request_uncertain", MaxBelief()),
    "highest entropy, CostRatio": ("request_uncertain", CostRatio(3.0)),
    "random, MaxBelief": ("request_random", MaxBelief()),
    "expected information, discounted": ("request_informative", MaxBelief()),
}
_SEQUENTIAL = "bytes alone, one after the other"
_IN_PLACE = "bytes alone, where the items are"
_STATUS = Path("/proc/self/status")
_SAMPLE_S = 0.002
_ROWS_AT_ONCE = 1 << 18

Measure = Callable[[Callable[[], object]], float]


def main(
    items: int = 10_000_000, classes: int = 4, budget: float = 0.1, repetitions: int = 3, folder: str = "."
) -> None:
    """Print time and memory of the steps of a prediction store.

    Args:
        items: N.
        classes: K, 2 or more.
        budget: fraction of the items that a step evaluates.
        repetitions: of each, of which the medians are shown.
        folder: on the disk to measure on, with room for some 70 bytes per item (4 classes); nothing stays there.
    """
    if not (items > 0 and classes > 1 and 0 < budget <= 1 and repetitions > 0):
        found = f"items={items} classes={classes} budget={budget} repetitions={repetitions}"
        raise InputError(f"settings: found {found}, expected 1 or more, 2 or more, above 0 to 1, 1 or more")
    with tempfile.TemporaryDirectory(prefix="updates-", dir=folder) as scratch:
        print_tables([updates_table(Path(scratch), items, classes, max(1, round(budget * items)), repetitions)])


def updates_table(folder: Path, items: int, classes: int, budget: int, repetitions: int) -> Table:
    """Steps of several kinds in turn, on a store of which a first classifier has labelled every item."""
    random = np.random.default_rng(0)
    values = random.random((classes, classes)) + 4 * classes * np.eye(classes)
    confusion = ConfusionMatrix(values / values.sum(axis=0))
    with PredictionStore.create(folder / "store", items, classes, keep_last=True) as store:
        everything = store.request_random(items, 0)
        store.update(everything, random.integers(0, classes, items, np.int16), confusion, MaxBelief())
        row_bytes = sum(getattr(store, name).nbytes for name in _ARRAYS) // items
        source, target = (_written(folder / name, budget * row_bytes) for name in ("source.npy", "target.npy"))

        def all_contenders(measure: Measure) -> dict[str, tuple[float, float]]:
            numbers = {
                name: _step(store, request, rule, budget, confusion, random, measure)
                for name, (request, rule) in _STEPS.items()
            }
            numbers[_SEQUENTIAL] = math.nan, measure(partial(_copy, store.entropy, source, target))
            numbers[_IN_PLACE] = math.nan, measure(partial(_rewrite, store))
            return numbers

        peaks = all_contenders(_peak_anonymous_mib)  # it warms up as well
        seconds = [all_contenders(partial(_seconds, folder)) for _ in range(repetitions)]
    bytes_alone = statistics.median(one[_SEQUENTIAL][1] for one in seconds)

    def row(name: str) -> Row:
        select, update, whole = (
            statistics.median(parts)
            for parts in zip(*((one[name][0], one[name][1], np.nansum(one[name])) for one in seconds), strict=True)
        )
        return Row((name, select, update, whole, whole / bytes_alone, np.nanmax(peaks[name])))

    moved_mb = (4 * items + 2 * budget * row_bytes) / 1e6
    return Table(
        f"One step, {budget:,} of {items:,} items, {classes} classes: {torch.get_num_threads()} threads, "
        f"medians of {repetitions}",
        (("", "select s", "update s", "step s", "times the bytes", "peak MiB"),),
        tuple(row(name) for name in seconds[0]),
        (
            f"Bytes alone: every entropy is read, {row_bytes} bytes of each evaluated item are read and written, "
            f"{moved_mb:,.0f} MB of memory-mapped files by the same threads; one after the other, or at a random "
            "step's items, with most pages of all arrays touched.",
            "Peak: all memory of the process that belongs to no file (RssAnon), libraries and new labels included.",
            "Before each measurement the files are written to the disk (fsync); they stay in memory if they fit.",
        ),
    )


def _step(
    store: PredictionStore,
    request: str,
    rule: Rule,
    budget: int,
    confusion: ConfusionMatrix,
    random: np.random.Generator,
    measure: Measure,
) -> tuple[float, float]:
    """Measured selection and update; the classifier's work between them isn't."""
    asked = partial(getattr(store, request), budget, int(random.integers(1 << 62)))
    classifier: Classifier = confusion
    if request == "request_informative":
        asked, classifier = partial(asked, confusion), Discounted(confusion, np.full(len(store.steps), 0.5))
    selecting = measure(asked)
    requested = store.requested
    assert requested is not None
    right = random.random(budget, np.float32) < 0.8
    predicted = np.where(right, store.labels[requested], random.integers(0, store.classes, budget, np.int16))
    return selecting, measure(partial(store.update, requested, predicted, classifier, rule))


def _written(path: Path, size: int) -> NDArray[np.uint8]:
    np.save(path, np.ones(size, np.uint8))
    return np.asarray(np.load(path, mmap_mode="r+"))


def _copy(entropy: NDArray[np.float32], source: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
    def part(chunk: int, chunks: int) -> None:
        entropy[len(entropy) * chunk // chunks : len(entropy) * (chunk + 1) // chunks].max(initial=0)
        first, end = len(source) * chunk // chunks, len(source) * (chunk + 1) // chunks
        np.copyto(target[first:end], source[first:end])

    in_chunks(part, torch.get_num_threads(), None)


def _rewrite(store: PredictionStore) -> None:
    """Read every entropy, and write what the last step's items have to where it is."""
    assert store.last_step is not None
    items = store.last_step.items
    arrays = [np.asarray(np.load(store.folder / f"{name}.npy", mmap_mode="r+")) for name in _ARRAYS]

    def part(chunk: int, chunks: int) -> None:
        store.entropy[store.items * chunk // chunks : store.items * (chunk + 1) // chunks].max(initial=0)
        end = len(items) * (chunk + 1) // chunks
        for first in range(len(items) * chunk // chunks, end, _ROWS_AT_ONCE):
            rows = items[first : min(first + _ROWS_AT_ONCE, end)]
            for array in arrays:
                array[rows] = array[rows]

    in_chunks(part, torch.get_num_threads(), None)


def _seconds(folder: Path, call: Callable[[], object]) -> float:
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _peak_anonymous_mib(call: Callable[[], object]) -> float:
    """The most memory of this process during a call that is no file's; NaN where the system doesn't tell."""
    if not _STATUS.exists():
        call()
        return math.nan
    samples = [_anonymous_kib()]
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_SAMPLE_S):
            samples.append(_anonymous_kib())

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        call()
    finally:
        over.set()
        watching.join()
    return max(samples) / 1024


def _anonymous_kib() -> int:
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith("RssAnon"))
