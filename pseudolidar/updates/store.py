"""Stored predictions of N items in a folder of memory-mapped arrays, and the steps that evaluate some of them again."""

import fcntl
import operator
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pseudolidar.files import InputError, replacing, require_file
from pseudolidar.updates.evidence import Classifier, ConditionalConfusion, checked_predictions, shape_of
from pseudolidar.updates.layout import State, StepRecord, append_rows, fit, mapped, new_folder
from pseudolidar.updates.measures import ConfusionMatrix, integers
from pseudolidar.updates.redo_log import UpdateStep, apply_step, drop_rows, read_record, write_step
from pseudolidar.updates.rules import MajorityVote, Rule
from pseudolidar.updates.selection import counts_by_gain, information_gains, most_uncertain, random_items, spread

_STATE = "store.json"


class PredictionStore:
    """Posterior, stored label and number of evaluations of N items with K classes; N is bounded by the disk.

    A process that is killed at any moment leaves a valid store: a step, new items or a request are there completely or
    not at all; repeat those that are not. Nothing is forced onto the disk, which for gigabytes would take longer than
    the step: after a loss of power, or a crash of the operating system, the folder may hold anything.

    The arrays are read-only memory maps and show what later steps write; after `add`, get them again.

    Raises:
        FormatError: no store in the folder, or files that don't fit together.
        InputError: the store is already open, in this process or another.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        require_file(self.folder / _STATE, "a prediction store")
        self._close = weakref.finalize(self, os.close, _locked(self.folder))
        try:
            self._state = State.read(self.folder / _STATE)
            self._arrays = self._fitted_arrays()
            self._finish_step()
            self._tidy()
        except BaseException:
            # The traceback keeps this object alive, which must not keep the lock.
            self._close()
            raise

    @classmethod
    def create(
        cls,
        folder: str | Path,
        items: int,
        classes: int,
        prior: ArrayLike | None = None,
        keep_votes: bool = False,
        keep_last: bool = False,
    ) -> "PredictionStore":
        """A new store in a missing or empty folder, nothing evaluated yet.

        Args:
            items, classes: N, 0 or more, and K, 1 to 32,767.
            prior: (K,), probabilities of the classes; None: uniform.
            keep_votes: also count votes, which `MajorityVote` needs; 2 K bytes per item.
            keep_last: also keep the last evaluation, which classifiers with correlated errors need; 4 bytes per item.
        """
        folder = Path(folder)
        state = State.fresh(items, classes, prior, keep_votes, keep_last)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"folder: found {folder} in use, expected a new folder or an empty one")
        with new_folder(folder) as new:
            for name, (dtype, shape, value) in state.arrays().items():
                append_rows(new / f"{name}.npy", dtype, shape, 0, value)
            state.write(new / _STATE)
        return cls(folder)

    def close(self) -> None:
        """Let others open the store; it also closes when nothing refers to it any more."""
        self._close()

    def __enter__(self) -> "PredictionStore":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def items(self) -> int:
        """N, the number of items."""
        return self._state.items

    @property
    def classes(self) -> int:
        """K, the number of classes."""
        return self._state.classes

    @property
    def prior(self) -> NDArray[np.float32]:
        """(K,), the posterior of an item that was never evaluated."""
        return np.array(self._state.prior, np.float32)

    @property
    def posterior(self) -> NDArray[np.float32]:
        """(N, K), the probabilities of the classes for each item."""
        return self._arrays["posterior"]

    @property
    def entropy(self) -> NDArray[np.float32]:
        """(N,), of the posterior, nats."""
        return self._arrays["entropy"]

    @property
    def labels(self) -> NDArray[np.int16]:
        """(N,), the stored labels, -1 for none yet."""
        return self._arrays["labels"]

    @property
    def evaluations(self) -> NDArray[np.uint16]:
        """(N,), how often the item was evaluated; counting ends at 65,535."""
        return self._arrays["evaluations"]

    @property
    def votes(self) -> NDArray[np.uint16] | None:
        """(N, K), how many evaluations gave each label, None where not kept; counting ends at 65,535."""
        return self._arrays.get("votes")

    @property
    def last(self) -> NDArray[np.int32] | None:
        """(N,), each item's last evaluation, step (from 0) times K plus label, -1 for none; None where not kept."""
        return self._arrays.get("last")

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """A record of each finished step."""
        return self._state.steps

    @property
    def last_step(self) -> UpdateStep | None:
        """The change of the stored labels by the last finished step."""
        return UpdateStep.read(self._step(-1)) if self.steps else None

    @property
    def requested(self) -> NDArray[np.int64] | None:
        """(B,), the items of the open request, ascending; a memory map."""
        return mapped(self._request) if self._request.exists() else None

    def add(self, items: int) -> None:
        """Append 0 or more new items with the prior; not while a request is open."""
        self._finish_step()
        items = operator.index(items)
        if items < 0:
            raise ValueError(f"items: found {items}, expected 0 or more")
        if self.requested is not None:
            raise ValueError("request: found one open, expected its step before new items")
        grown = replace(self._state, items=self.items + items)
        try:
            for name, (dtype, shape, value) in grown.arrays().items():
                append_rows(self._path(name), dtype, shape, self.items, value)
            self._set_state(grown)
        finally:
            self._arrays = self._fitted_arrays()

    def request_uncertain(self, budget: int, seed: int) -> NDArray[np.int64]:
        """Request the `budget` items of highest entropy, (B,), ascending, a memory map.

        The request stays open, on disk, until `update` or another request. The seed orders items of equal entropy:
        those that start alike may be sorted by class, so their index would be a biased order.
        """
        return self._requested(budget, lambda selected: most_uncertain(self.entropy, seed, selected))

    def request_informative(
        self, budget: int, seed: int, classifier: ConfusionMatrix | ConditionalConfusion
    ) -> NDArray[np.int64]:
        """Request the items of which the classifier is expected to tell most, otherwise as `request_uncertain`.

        Unlike the most uncertain ones they may be items of which it, or one that errs alike, can tell. While they are
        chosen, 4 bytes per item are on disk. ValueError for another K or number of steps.
        """
        self._require_fit(classifier)

        def fill(selected: NDArray[np.int64]) -> None:
            with self._gains(classifier) as gains:
                most_uncertain(gains, seed, selected)

        return self._requested(budget, fill)

    def spread_budget(self, total: int, classifiers: Sequence[ConfusionMatrix | ConditionalConfusion]) -> list[int]:
        """How many of `total` evaluations the next step gets, and each later one, by what is expected of them.

        They go where they tell most, of all items and steps as things stand: more to a step whose classifier tells
        more. It is a plan for the next step: after it, spread again what is left. Gains that differ by less than 0.8 %
        count as equal.

        Args:
            total: 0 to N for each step.
            classifiers: of the next step, and those expected later; each knows of the finished steps.

        Raises:
            ValueError: no classifier, another total, another K or number of steps.
        """
        self._finish_step()
        counts = []
        for classifier in classifiers:
            self._require_fit(classifier)
            with self._gains(classifier) as gains:
                counts.append(counts_by_gain(gains))
        most = self.items * len(counts)
        if not (counts and 0 <= total <= most):
            raise InputError(f"total: found {total} for {len(counts)} steps, expected one or more steps, 0 to {most}")
        return spread(operator.index(total), np.array(counts))

    def request_random(self, budget: int, seed: int) -> NDArray[np.int64]:
        """Request random items, otherwise as `request_uncertain`; the same seed gives the same items."""
        return self._requested(budget, lambda selected: random_items(self.items, seed, selected))

    def request(self, items: ArrayLike) -> NDArray[np.int64]:
        """Request these items, ascending, each once; otherwise as `request_uncertain`."""
        given = integers("items", items)
        wrong = (given < 0) | (given >= self.items)
        wrong[1:] |= given[1:] <= given[:-1]
        if wrong.any():
            place = int(wrong.argmax())
            expected = f"0 to {self.items - 1}, ascending, each once"
            raise ValueError(f"items: found {given[place]} at place {place}, expected {expected}")
        return self._requested(len(given), lambda selected: np.copyto(selected, given, casting="unsafe"))

    def update(self, items: ArrayLike, labels: ArrayLike, classifier: Classifier, rule: Rule) -> UpdateStep:
        """Update by the labels (B,), or logits (B, K), that a classifier predicts for `items` (B,); close the request.

        With a confusion matrix an item's posterior becomes proportional to confusion[label, k] x posterior(k). It is
        computed in float64 and kept in float32; a class that is possible never falls to 0.

        Args:
            items: ascending, all or part of the open request; other items keep their rows.
            classifier: its confusion matrix, or what `evidence` has beside it: with `Calibration` the labels are
                logits, and `ConditionalConfusion` and `Discounted` need a store that keeps the last evaluation.
            rule: when a stored label changes.

        Raises:
            ValueError: no open request, items that weren't requested, labels outside 0 .. K - 1, a label that is
                impossible under the confusion matrix and the posterior, another K or number of steps; the store is
                unchanged.
        """
        self._finish_step()
        requested = self.requested
        if requested is None:
            raise ValueError("request: found none open, expected one before its labels")
        self._require_fit(classifier)
        evaluated = integers("items", items)
        predicted = checked_predictions(classifier, labels, len(evaluated))
        if isinstance(rule, MajorityVote) and self.votes is None:
            raise ValueError(f"rule: found {rule}, expected it with a store that keeps votes (keep_votes=True)")
        write_step(self._step(0), len(self.steps), self._arrays, requested, evaluated, predicted, classifier, rule)
        self._finish_step()
        return UpdateStep.read(self._step(-1))

    def _require_fit(self, classifier: Classifier) -> None:
        classes, steps = shape_of(classifier)
        if classes != self.classes:
            raise ValueError(f"confusion matrix: found K = {classes}, expected {self.classes}")
        if steps is None:
            return
        if self.last is None:
            found = type(classifier).__name__
            raise ValueError(
                f"classifier: found {found}, expected it with a store that keeps the last (keep_last=True)"
            )
        if steps != len(self.steps):
            raise ValueError(f"classifier: found {steps} steps before it, expected {len(self.steps)}, as in the store")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npy"

    def _step(self, after: int) -> Path:
        """Folder of the last finished step (-1), of the next step (0)."""
        return self.folder / f"step-{len(self.steps) + after}"

    @property
    def _request(self) -> Path:
        # Of the step that comes: the request ends the moment that the step joins the history.
        return self._path(f"request-{len(self.steps)}")

    def _requested(self, budget: int, fill: Callable[[NDArray[np.int64]], None]) -> NDArray[np.int64]:
        self._finish_step()
        # NumPy's integers have no place in the header of a file.
        budget = operator.index(budget)
        if not 0 <= budget <= self.items:
            raise InputError(f"budget: found {budget}, expected 0 to {self.items}, the number of items")
        with replacing(self._request) as temporary:
            temporary.unlink()
            # Written before it's mapped: a full disk is an error then, and no end of the process.
            append_rows(temporary, "<i8", (budget,), 0, 0)
            fit(temporary, "<i8", (budget,))
            fill(mapped(temporary, "r+"))
        return mapped(self._request)

    @contextmanager
    def _gains(self, classifier: ConfusionMatrix | ConditionalConfusion) -> Iterator[NDArray[np.float32]]:
        """The expected information (N,), nats, in a file for the time being."""
        if isinstance(classifier, ConditionalConfusion):
            tables, last = classifier.tables, self.last
        else:
            tables, last = classifier.values[None], None
        file = self._path(".request-gains")
        try:
            append_rows(file, "<f4", (self.items,), 0, 0)
            fit(file, "<f4", (self.items,))
            gains = mapped(file, "r+")
            information_gains(self.posterior, last, tables, gains)
            yield gains
        finally:
            file.unlink(missing_ok=True)

    def _set_state(self, state: State) -> None:
        state.write(self.folder / _STATE)
        self._state = state

    def _fitted_arrays(self) -> dict[str, NDArray[Any]]:
        for name, (dtype, shape, _) in self._state.arrays().items():
            fit(self._path(name), dtype, shape)
        return {name: mapped(self._path(name)) for name in self._state.arrays()}

    def _finish_step(self) -> None:
        if not self._close.alive:
            raise ValueError(f"store: found {self.folder} closed, expected it open")
        folder = self._step(0)
        if not folder.exists():
            return
        apply_step(folder, {name: mapped(self._path(name), "r+") for name in self._arrays})
        self._set_state(replace(self._state, steps=(*self.steps, read_record(folder))))
        self._tidy()

    def _tidy(self) -> None:
        """Remove files left by an earlier step, or by one that was cut off."""
        for path in self.folder.iterdir():
            if path.name.startswith(("step-", ".step-")) and path != self._step(-1):
                shutil.rmtree(path)
            elif path.name.startswith(("request-", ".request-", ".store-")) and path != self._request:
                path.unlink()
        if self.steps:
            drop_rows(self._step(-1))


def _locked(folder: Path) -> int:
    """A descriptor that holds the store's lock; the system drops the lock when the process ends, however it ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise InputError(f"{folder}: found the store open elsewhere, expected one user at a time") from error
    return descriptor
