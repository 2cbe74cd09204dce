"""How a training computes: device, arithmetic, threads, learning rates; the record of all that changes its result."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pseudolidar.files import InputError, Record

Arithmetic = Literal["float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "auto"]

# How often a state is written, by whom batches are made, and on how many threads (which can change the last bit of a
# sum, no more).
_CHANGE_NOTHING = ("checkpoint_every", "workers", "threads")


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How any training computes; the settings of each model's training add to these.

    Attributes:
        precision: of the arithmetic: `float32`, `bfloat16` for mixed precision, or `auto`: see `arithmetic_of`.
        checkpoint_every: steps between two writes of the running state; a minute is the most there is between them.
        device: `cpu` or `cuda`.
        threads: processor threads; None: as many as PyTorch takes.
        workers: processes that make batches; 0: a thread of the training's process makes them.
        accumulate: shards of a batch that go through the network one after the other, for less memory. The loss is then
            the mean of their losses, and batch normalisation sees one shard at a time.
        synchronised_batch_norm: several processes take the statistics of batch normalisation together.
    """

    precision: Precision
    checkpoint_every: int
    device: str
    threads: int | None
    workers: int
    accumulate: int
    synchronised_batch_norm: bool


def recorded_settings(settings: TrainingSettings) -> dict[str, Any]:
    """The settings that determine the result, by name; the same on every machine."""
    return {name: value for name, value in dataclasses.asdict(settings).items() if name not in _CHANGE_NOTHING}


def training_record(what: str, settings: TrainingSettings, inputs: Mapping[str, str], **others: Any) -> Record:
    """The record of a training on this machine, for `fit`: what is trained, with which settings, from which data.

    Args:
        what: is trained.
        settings: all but those that do not change the result are recorded, see `recorded_settings`.
        inputs: digests of the data and of initial weights.
        others: what else determines the result: the seed, classes.

    Raises:
        ValueError: no such device or precision.
    """
    # The device's kind counts, not its number.
    kind = require_device(settings.device).type
    machine = {"device": kind, "precision": arithmetic_of(settings.precision, kind)}
    return Record(what, {**recorded_settings(settings), **machine, **others}, inputs)


def arithmetic_of(precision: Precision, device: str | torch.device) -> Arithmetic:
    """The arithmetic that `precision` means on a device.

    `auto` is bfloat16 where the device computes it natively, float32 elsewhere: a processor without such instructions
    takes many times longer in bfloat16 than in float32.

    Raises:
        InputError: an unknown precision.
    """
    if precision == "auto":
        if torch.device(device).type == "cuda":
            is_native = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            is_native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bfloat16" if is_native else "float32"
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: found {precision!r}, expected 'float32', 'bfloat16' or 'auto'")
    return precision


def require_device(device: str | torch.device) -> torch.device:
    """The device, if PyTorch can compute there.

    Raises:
        InputError: no such device, or none of its kind on this machine.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device: found {str(device)!r}, expected 'cpu', or 'cuda' where there is a GPU") from error


@contextmanager
def arithmetic_threads(count: int | None) -> Iterator[None]:
    """PyTorch computes with `count` threads inside, as before afterwards; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def adam(
    parameters: Iterable[nn.Parameter], learning_rate: float, device: str, decoupled_decay: float | None = None
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, ICLR 2015), or AdamW with its decoupled weight decay (Loshchilov and Hutter, ICLR 2019).

    On a GPU one kernel updates all parameters; on a processor that would change the last bits and gain nothing.
    """
    fused = True if torch.device(device).type == "cuda" else None
    if decoupled_decay is None:
        return torch.optim.Adam(parameters, lr=learning_rate, fused=fused)
    return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=decoupled_decay, fused=fused)


def step_decay(learning_rate: float, milestones: Sequence[int]) -> Callable[[int], float]:
    """By step: `learning_rate`, a tenth of it from each of the `milestones` (in steps) on."""
    return lambda step: learning_rate * 0.1 ** sum(step >= milestone for milestone in milestones)


def one_cycle(learning_rate: float, steps: int) -> Callable[[int], float]:
    """By step: a rise from a tenth of `learning_rate` over a tenth of the steps, then a cosine down to a hundredth.

    Source: Smith and Topin, Super-Convergence, 2018; cosine annealing as in Loshchilov and Hutter, SGDR, 2017.
    """
    start, end, rising = 0.1, 0.01, max(1, round(0.1 * steps))

    def at(step: int) -> float:
        if step < rising:
            return learning_rate * (start + (1 - start) * step / rising)
        done = min(1.0, (step - rising) / max(1, steps - 1 - rising))
        return learning_rate * (end + (1 - end) * (1 + math.cos(math.pi * done)) / 2)

    return at
