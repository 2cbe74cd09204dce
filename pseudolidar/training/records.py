"""Settings that every training has, and its record: all its settings except those that do not change the result."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pseudolidar.files import Record
from pseudolidar.training.precision import Precision, arithmetic_of, require_device

# How often a state is written, and on how many threads (which can change the last bit of a sum, no more).
_CHANGE_NOTHING = ("checkpoint_every", "threads")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How any training computes; the settings of each model's training add to these.

    Attributes:
        precision: of the arithmetic: `float32`, `bfloat16` for mixed precision, or `auto`: see `arithmetic_of`.
        checkpoint_every: steps between two writes of the running state.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        accumulate: shards of a batch that go through the network one after the other, for less memory: see `fit`.
        synchronised_batch_norm: several processes take the statistics of batch normalisation together.
    """

    precision: Precision
    checkpoint_every: int
    device: str
    threads: int | None
    accumulate: int
    synchronised_batch_norm: bool

    def of_loop(self, device: str | None = None) -> dict[str, Any]:
        """These settings as keyword arguments of `fit`; `device` in place of the settings' own."""
        return {
            "precision": self.precision,
            "checkpoint_every": self.checkpoint_every,
            "device": self.device if device is None else device,
            "threads": self.threads,
            "accumulate": self.accumulate,
            "synchronise": self.synchronised_batch_norm,
        }


def recorded_settings(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that determine the result, by name; the same on every machine."""
    values = dataclasses.asdict(settings)
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
