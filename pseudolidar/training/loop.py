"""The training loop: batches in, a checkpoint out; a killed run goes on and ends with the same bytes."""

import dataclasses
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial as bound
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import torch
from torch import Tensor, nn

from pseudolidar.files import DivergenceError, FormatError, InputError, Record, progress_bar, require_same_record
from pseudolidar.training.batch_norm import synchronised_batch_norm
from pseudolidar.training.checkpoints import load_checkpoint, require_checkpoint_path, save_checkpoint
from pseudolidar.training.processes import BatchShard, Processes, processes_on
from pseudolidar.training.settings import Arithmetic, Precision, arithmetic_of, arithmetic_threads

# Steps over which the progress bar's loss is smoothed.
_SMOOTHING_STEPS = 20
# Time that the first process has to say why the run stops; torchrun ends the others meanwhile.
_LAST_WORDS_S = 3.0
# Between the seeds of the shards of a step.
_SEED_STRIDE = 2_654_435_761


class Batch(Protocol):
    """What the loop needs to know of a batch: a dataclass whose tensors it can move, and the frames it came from."""

    @property
    def frame_ids(self) -> Sequence[str]:
        """The frames in the batch, for error messages."""


B = TypeVar("B", bound=Batch)
Model = TypeVar("Model", bound=nn.Module)


def fit(
    model: Model,
    batch_at: Callable[..., B],
    compute_loss: Callable[[Model, B], Tensor],
    steps: int,
    optimizer: torch.optim.Optimizer,
    learning_rate_at: Callable[[int], float],
    checkpoint: Path,
    record: Record,
    description: str,
    precision: Precision = "float32",
    checkpoint_every: int = 100,
    device: str | torch.device = "cpu",
    *,
    arguments: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    max_gradient_norm: float | None = None,
    seed: int = 0,
    threads: int | None = None,
    accumulate: int = 1,
    synchronise: bool = True,
    snapshots: Collection[int] = (),
) -> list[float]:
    """Train `model` in place and write `checkpoint`; return the loss of every step, over all processes.

    The running state (weights, optimizer, step, losses) goes to `partial_path(checkpoint)` every `checkpoint_every`
    steps. A call that finds it goes on from it; one that finds the finished checkpoint only loads it; one that finds
    those of another record refuses them. The batch of a step depends on the step alone, and the random numbers that
    layers draw (dropout) on `seed` and the step, so an interrupted run ends with the same bytes as one that was left
    alone, on the same device and number of threads.

    Under torchrun all processes train the one model: each takes its shard of every step's batch, gradients are summed,
    and the first process writes the checkpoints, on storage that all of them see. A run goes on with any number of
    processes.

    Args:
        model: trained in place, left in training mode on `device`.
        batch_at: the batch of a step (a dataclass with `frame_ids`); called in a thread of its own, one batch ahead, so
            it draws its random numbers from a generator of its own. Where a step has several shards it is called with
            `shard=BatchShard(...)` too, and makes only what is in it.
        compute_loss: the loss (a scalar) of the model on a batch, under autocast when `precision` is bfloat16. Of
            several processes each gives its term: the terms add up to the loss, see `shard_weight`.
        steps: number of optimizer steps.
        optimizer: over the parameters of `model`; its learning rate is set at each step.
        learning_rate_at: learning rate of a step.
        checkpoint: the finished checkpoint, readable with `load_checkpoint`: a dictionary of `state_dict`, `arguments`,
            `losses`, `precision` (the arithmetic used) and `record`.
        record: all that determines the result, see `training_record`.
        description: name of the run on the progress bar.
        precision, checkpoint_every, device, threads, accumulate: see `TrainingSettings`; under torchrun `device` is a
            kind, of which each process takes its own. With `accumulate` the loss is the mean of its shards' losses, and
            batch normalisation sees one shard at a time.
        arguments: the model's constructor arguments, kept in the checkpoint so that the model can be built from it.
        overwrite: what is there of another record is replaced.
        max_gradient_norm: gradients of a larger norm are scaled down to it; None leaves them alone.
        seed: of the random numbers that layers draw.
        synchronise: batch normalisation takes its statistics from all processes together, else from its own.
        snapshots: numbers of steps after which the weights of that moment go to a file of their own: see
            `snapshot_path`. Steps that were taken before, in a run that goes on, leave none.

    Raises:
        DivergenceError: a loss or gradient is not finite; names the step and the frames.
        FormatError: what is there is unreadable or of another record, unless `overwrite`; or of another model.
        InputError: no such device, or fewer items in a batch than shards of a step.
    """
    if accumulate < 1:
        raise InputError(f"accumulate: found {accumulate}, expected at least 1")
    require_checkpoint_path(checkpoint)
    processes = processes_on(device)
    device = processes.device
    partial = partial_path(checkpoint)
    arithmetic = arithmetic_of(precision, device)
    arguments = dict(arguments or {})
    model.to(device).train()
    there = [path for path in (checkpoint, partial) if path.exists()]
    # The first process may be the first to write them.
    processes.wait()
    losses: list[float] = []
    for path in there:
        if (found := _found(path, record, overwrite)) is not None:
            _load_state(model, found["state_dict"], path)
            losses = [float(loss) for loss in found["losses"]]
            if path == checkpoint:
                return losses
            optimizer.load_state_dict(found["optimizer"])
    shards = [
        BatchShard(turn * processes.count + processes.rank, processes.count * accumulate) for turn in range(accumulate)
    ]

    def content() -> dict[str, Any]:
        return {
            "state_dict": model.state_dict(), "arguments": arguments, "losses": losses, "precision": arithmetic,
            "record": record.to_dict(),
        }  # fmt: skip

    with (
        ThreadPoolExecutor(max_workers=1) as prefetch,
        progress_bar() as progress,
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        arithmetic_threads(threads),
        synchronised_batch_norm(model) if synchronise and processes.count > 1 else nullcontext(),
        _only_trained(model, optimizer),
    ):
        objective = processes.prepared(_Objective(model, compute_loss))
        take_step = _Steps(processes, objective, optimizer, arithmetic, max_gradient_norm, seed)
        bar = progress.add_task(description, total=steps, completed=len(losses), note=_note(losses))
        whole = len(shards) == processes.count == 1
        batches = _one_ahead(
            prefetch,
            (
                bound(batch_at, step) if whole else bound(batch_at, step, shard=shard)
                for step in range(len(losses), steps)
                for shard in shards
            ),
        )
        while len(losses) < steps:
            step = len(losses)
            losses.append(take_step(step, shards, batches, learning_rate_at(step)))
            if processes.rank == 0:
                if len(losses) in snapshots:
                    save_checkpoint(snapshot_path(checkpoint, len(losses)), content())
                if len(losses) % checkpoint_every == 0 and len(losses) < steps:
                    save_checkpoint(partial, {**content(), "optimizer": optimizer.state_dict()})
            progress.update(bar, advance=1, note=_note(losses))
    if processes.rank == 0:
        save_checkpoint(checkpoint, content())
        partial.unlink(missing_ok=True)
    processes.wait()
    return losses


def snapshot_path(checkpoint: Path, steps: int) -> Path:
    """The file in which `fit` keeps the weights after `steps` steps: STEM.step-N.SUFFIX beside the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}.step-{steps}{checkpoint.suffix}")


def partial_path(checkpoint: Path) -> Path:
    """Where `fit` keeps the running state of a checkpoint: beside it, under its whole name, so that no two share it."""
    return checkpoint.with_name(f"{checkpoint.name}.partial")


def is_finished(checkpoint: Path, record: Record, overwrite: bool = False) -> bool:
    """Whether `fit` would find this checkpoint finished: asked before data is read that takes a while.

    Raises:
        FormatError: a checkpoint, or a running state, that is unreadable or of another record, unless `overwrite`.
    """
    for path in (checkpoint, partial_path(checkpoint)):
        if path.exists() and _found(path, record, overwrite) is not None:
            return path == checkpoint
    return False


def _found(path: Path, record: Record, overwrite: bool) -> dict[str, Any] | None:
    """The content of a checkpoint or running state of this record; None for another one that is to be replaced."""
    try:
        content = load_checkpoint(path)
        there = Record.from_dict(content["record"]) if "record" in content else None
        require_same_record(path, there, record)
    except FormatError:
        if overwrite:
            return None
        raise
    return content


def _load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise FormatError(
            path, "state_dict", str(error).split("\n")[-1].strip(), "the weights of this model"
        ) from error


class _Objective(nn.Module):
    """The loss as a module: what goes through it goes through DistributedDataParallel, whatever the loss calls."""

    def __init__(self, model: nn.Module, compute_loss: Callable[[Any, Any], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.compute_loss = compute_loss

    def forward(self, batch: Batch) -> Tensor:
        return self.compute_loss(self.model, batch)


@dataclass(frozen=True)
class _Steps:
    """Optimizer steps, one a call; see `fit`."""

    processes: Processes
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    arithmetic: Arithmetic
    max_gradient_norm: float | None
    seed: int

    def __call__(
        self, step: int, shards: Sequence[BatchShard], batches: Iterator[Batch], learning_rate: float
    ) -> float:
        """The step's loss; `batches` gives the one of each of this process's `shards`."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        frame_ids: list[str] = []
        for shard in shards:
            batch = _moved(next(batches), self.processes.device)
            frame_ids += batch.frame_ids
            # Of the seed, PyTorch's generator on a processor takes the last 32 bits.
            torch.manual_seed(self.seed * 1_000_003 + step + shard.index * _SEED_STRIDE)
            loss += self._add_gradients(step, batch, len(shards), is_last=shard is shards[-1]) / len(shards)
        if self.max_gradient_norm is not None:
            norm = float(nn.utils.clip_grad_norm_(self.objective.parameters(), self.max_gradient_norm))
            if not math.isfinite(norm):
                self._stop(f"step {step}: the gradient's norm is {norm}", frame_ids)
        self.optimizer.step()
        return loss

    def _add_gradients(self, step: int, batch: Batch, shards: int, is_last: bool) -> float:
        """The loss of a shard of the step, over all processes."""
        with self.processes.summing_gradients(self.objective, now=is_last):
            with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=self.arithmetic == "bfloat16"):
                term = self.objective(batch)
            loss = self.processes.sum(term)
            if not math.isfinite(loss):
                is_mine = not math.isfinite(float(term.detach()))
                self._stop(f"step {step}: the loss is {loss}", batch.frame_ids if is_mine else ())
            self.processes.backward(term / shards)
        return loss

    def _stop(self, reason: str, frame_ids: Sequence[str]) -> NoReturn:
        """End all processes, with a word from the first alone."""
        frames = ", ".join(itertools.chain(*self.processes.gathered(list(frame_ids))))
        if self.processes.rank > 0:
            time.sleep(_LAST_WORDS_S)
            raise SystemExit(2)
        raise DivergenceError(f"{reason}; frames {frames}")


@contextmanager
def _only_trained(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    # DistributedDataParallel waits for a gradient of every parameter that wants one.
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    others = [each for each in model.parameters() if each.requires_grad and id(each) not in trained]
    try:
        for parameter in others:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in others:
            parameter.requires_grad_(True)


def _one_ahead(executor: ThreadPoolExecutor, calls: Iterable[Callable[[], B]]) -> Iterator[B]:
    """The results of the calls, the next one under way while one is looked at."""
    coming: deque[Future[B]] = deque()
    for call in calls:
        coming.append(executor.submit(call))
        if len(coming) > 1:
            yield coming.popleft().result()
    yield from (last.result() for last in coming)


def _moved(batch: B, device: str | torch.device) -> B:
    """The batch with its tensors on `device`."""
    fields = vars(batch).items()
    moved = {name: value.to(device, non_blocking=True) for name, value in fields if isinstance(value, Tensor)}
    return dataclasses.replace(batch, **moved)  # type: ignore[type-var]


def _note(losses: Sequence[float]) -> str:
    """The progress bar's note: the smoothed loss."""
    recent = losses[-_SMOOTHING_STEPS:]
    return f"loss {sum(recent) / len(recent):.4f}" if recent else ""
