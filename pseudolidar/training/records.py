"""The record of a training: all its settings except those that do not change the result."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from pseudolidar.files import Record
from pseudolidar.training.precision import Precision, arithmetic_of, require_device

# How often a state is written, and on how many threads (which can change the last bit of a sum, no more).
_CHANGE_NOTHING = ("checkpoint_every", "threads")


class TrainingSettings(Protocol):
    """The settings of any training: a dataclass that says where and in which arithmetic it computes."""

    @property
    def device(self) -> str:
        """Where the training computes: `cpu` or `cuda`."""

    @property
    def precision(self) -> Precision:
        """Number format of the arithmetic: `float32`, `bfloat16` or `auto`, see `arithmetic_of`."""


def recorded_settings(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that determine the result, by name; the same on every machine."""
    values = dataclasses.asdict(settings)  # type: ignore[call-overload]
    return {name: value for name, value in values.items() if name not in _CHANGE_NOTHING}


def training_record(
    what: str, settings: TrainingSettings, inputs: Mapping[str, str], device: str | None = None, **others: Any
) -> Record:
    """The record of a training on this machine, for `fit`.

    Args:
        what: is trained.
        settings: of the training.
        inputs: digests of the data and of initial weights.
        device: in place of the settings'; its kind counts, not its number.
        others: what determines the result beside the settings: the seed, classes.

    Raises:
        ValueError: no such device or precision.
    """
    kind = require_device(device or settings.device).type
    machine = {"device": kind, "precision": arithmetic_of(settings.precision, kind)}
    return Record(what, {**recorded_settings(settings), **machine, **others}, inputs)
