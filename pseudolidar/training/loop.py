"""The training loop: batches in, a checkpoint out; a killed run goes on and ends with the same bytes."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from pseudolidar.kitti import FormatError, progress_bar
from pseudolidar.training.checkpoints import load_checkpoint, save_checkpoint
from pseudolidar.training.precision import Arithmetic, Precision, arithmetic_of, arithmetic_threads, require_device

# Steps over which the progress bar's loss is smoothed.
_SMOOTHING_STEPS = 20


class Batch(Protocol):
    """What the loop needs to know of a batch: a dataclass whose tensors it can move, and the frames it came from."""

    @property
    def frame_ids(self) -> Sequence[str]:
        """The frames in the batch, for error messages."""


B = TypeVar("B", bound=Batch)


def fit(
    model: nn.Module,
    batch_at: Callable[[int], B],
    compute_loss: Callable[[Any, B], Tensor],
    steps: int,
    optimizer: torch.optim.Optimizer,
    learning_rate_at: Callable[[int], float],
    checkpoint: Path,
    description: str,
    precision: Precision = "float32",
    checkpoint_every: int = 100,
    device: str | torch.device = "cpu",
    *,
    arguments: Mapping[str, Any] | None = None,
    max_gradient_norm: float | None = None,
    seed: int = 0,
    threads: int | None = None,
) -> list[float]:
    """Train `model` in place and write `checkpoint`; return the loss of every step.

    The running state (weights, optimizer, step, losses) goes to `checkpoint` with the suffix `.partial` every
    `checkpoint_every` steps, and is removed when the finished checkpoint is there. A call that finds it goes on from
    it; a call that finds the finished checkpoint only loads it. The batch of a step depends on the step alone, and
    the random numbers that layers draw (dropout) on `seed` and the step, so an interrupted run ends with the same bytes
    as one that was left alone, on the same device and number of threads.

    Args:
        model: trained in place, left in training mode on `device`.
        batch_at: the batch of a step (a dataclass with `frame_ids`); called in a thread of its own, one step ahead, so
            it draws its random numbers from a generator of its own.
        compute_loss: the loss (a scalar) of the model on a batch, under autocast when `precision` is bfloat16.
        steps: number of optimizer steps.
        optimizer: over the parameters of `model`; its learning rate is set at each step.
        learning_rate_at: learning rate of a step.
        checkpoint: the finished checkpoint, readable with `load_checkpoint`: a dictionary of `state_dict`, `arguments`,
            `losses` and `precision` (the arithmetic used).
        description: name of the run on the progress bar.
        precision: `float32`, `bfloat16` for mixed precision, or `auto`: see `arithmetic_of`.
        checkpoint_every: steps between two writes of the running state.
        device: where the model and the batches live.
        arguments: the model's constructor arguments, kept in the checkpoint so that the model can be built from it.
        max_gradient_norm: gradients of a larger norm are scaled down to it; None leaves them alone.
        seed: of the random numbers that layers draw.
        threads: processor threads for the arithmetic; None: as many as PyTorch takes. Small networks are faster on one,
            and a second run can take the other core.

    Raises:
        FloatingPointError: a loss or gradient is not finite; names the step and the frames.
        FormatError: the checkpoint is unreadable, or is of another model or run.
        ValueError: no such device.
    """
    require_device(device)
    partial = checkpoint.with_suffix(".partial")
    arithmetic = arithmetic_of(precision, device)
    arguments = dict(arguments or {})
    model.to(device).train()
    if checkpoint.exists():
        finished = load_checkpoint(checkpoint)
        if finished["arguments"] != arguments or len(finished["losses"]) != steps:
            raise FormatError(checkpoint, "arguments and steps", (finished["arguments"], len(finished["losses"])),
                              f"{(arguments, steps)}: this is the checkpoint of another run")  # fmt: skip
        _load_state(model, finished["state_dict"], checkpoint)
        return [float(loss) for loss in finished["losses"]]
    losses: list[float] = []
    if partial.exists():
        losses = _resume(model, optimizer, partial, arguments, steps)
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    with (
        ThreadPoolExecutor(max_workers=1) as prefetch,
        progress_bar() as progress,
        torch.random.fork_rng(devices),
        arithmetic_threads(threads),
    ):
        bar = progress.add_task(description, total=steps, completed=len(losses), note=_note(losses))
        coming: Future[B] | None = prefetch.submit(batch_at, len(losses)) if len(losses) < steps else None
        while coming is not None:
            step = len(losses)
            batch = _moved(coming.result(), device)
            coming = prefetch.submit(batch_at, step + 1) if step + 1 < steps else None
            torch.manual_seed(seed * 1_000_003 + step)
            losses.append(_step(model, batch, compute_loss, optimizer, learning_rate_at(step), arithmetic,
                                max_gradient_norm, step))  # fmt: skip
            if len(losses) % checkpoint_every == 0 and len(losses) < steps:
                save_checkpoint(partial, {"state_dict": model.state_dict(), "arguments": arguments, "losses": losses,
                                          "optimizer": optimizer.state_dict(), "steps": steps})  # fmt: skip
            progress.update(bar, advance=1, note=_note(losses))
    content = {"state_dict": model.state_dict(), "arguments": arguments, "losses": losses, "precision": arithmetic}
    save_checkpoint(checkpoint, content)
    partial.unlink(missing_ok=True)
    return losses


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, partial: Path, arguments: dict[str, Any], steps: int
) -> list[float]:
    content = load_checkpoint(partial)
    found = (content["arguments"], content.get("steps"))
    if found != (arguments, steps):
        raise FormatError(partial, "arguments and steps", found, f"{(arguments, steps)}: remove it to start again")
    _load_state(model, content["state_dict"], partial)
    optimizer.load_state_dict(content["optimizer"])
    return list(content["losses"])


def _load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(
            path, "state_dict", str(error).split("\n")[-1].strip(), "the weights of this model"
        ) from error


def _step(
    model: nn.Module,
    batch: B,
    compute_loss: Callable[[Any, B], Tensor],
    optimizer: torch.optim.Optimizer,
    learning_rate: float,
    arithmetic: Arithmetic,
    max_gradient_norm: float | None,
    step: int,
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic == "bfloat16"):
        loss = compute_loss(model, batch)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"step {step}: the loss is {value}; frames {', '.join(batch.frame_ids)}")
    loss.backward()
    if max_gradient_norm is not None:
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), max_gradient_norm))
        if not math.isfinite(norm):
            raise FloatingPointError(f"step {step}: the gradient's norm is {norm}; frames {', '.join(batch.frame_ids)}")
    optimizer.step()
    return value


def _moved(batch: B, device: str | torch.device) -> B:
    """The batch with its tensors on `device`."""
    if torch.device(device).type == "cpu":
        return batch
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}  # type: ignore[arg-type]
    moved = {name: value.to(device, non_blocking=True) for name, value in fields.items() if isinstance(value, Tensor)}
    return dataclasses.replace(batch, **moved)  # type: ignore[type-var]


def _note(losses: Sequence[float]) -> str:
    """The progress bar's note: the smoothed loss."""
    recent = losses[-_SMOOTHING_STEPS:]
    return f"loss {sum(recent) / len(recent):.4f}" if recent else ""
