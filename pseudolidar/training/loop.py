"""The training loop: batches in, a checkpoint out; a killed run goes on and ends with the same bytes."""

import math
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from pseudolidar.files import DivergenceError, FormatError, InputError, Record, progress_bar, require_same_record
from pseudolidar.training.batch_norm import synchronised_batch_norm
from pseudolidar.training.batches import Batch, BatchFeed, BatchShard, BatchSource
from pseudolidar.training.checkpoints import load_checkpoint, require_checkpoint_path, save_checkpoint
from pseudolidar.training.metrics import CsvLogger, Curves, Logger, peak_memory_mib
from pseudolidar.training.processes import Processes, processes_on
from pseudolidar.training.settings import TrainingSettings, arithmetic_of, arithmetic_threads

# However slow the steps are, no more is lost of a run that is killed.
_SAVED_EVERY_S = 60.0
# Time that the first process has to say why the run stops; torchrun ends the others meanwhile.
_LAST_WORDS_S = 3.0
# Between the seeds of the shards of a step.
_SEED_STRIDE = 2_654_435_761

B = TypeVar("B", bound=Batch)
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class TrainingTask(Generic[Model, B]):
    """What is trained, on what, and by which schedule.

    Attributes:
        model: trained in place.
        batches: see `BatchSource`. Where a step has several shards each process asks for its own.
        compute_loss: the terms of the loss of the model on a batch, scalars by name, under autocast if the precision is
            bfloat16; the loss is their sum. Of several processes each gives its part of every term: the parts add up to
            the term, see `shard_weight`.
        steps: number of optimizer steps.
        optimizer: over parameters of `model`; its learning rate is set at each step.
        learning_rate_at: learning rate of a step.
        record: all that determines the result, see `training_record`.
        description: name of the run on the progress bar.
        arguments: the model's constructor arguments, kept in the checkpoint so that the model can be built from it.
        max_gradient_norm: gradients of a larger norm are scaled down to it; None leaves them alone.
        test_losses: of the model, in evaluation mode then, on other data: numbers by name, the one first that decides
            what is best, the lower the better. It leaves the model as it is, and draws no random numbers of PyTorch's.
    """

    model: Model
    batches: BatchSource[B]
    compute_loss: Callable[[Model, B], Mapping[str, Tensor]]
    steps: int
    optimizer: torch.optim.Optimizer
    learning_rate_at: Callable[[int], float]
    record: Record
    description: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    max_gradient_norm: float | None = None
    test_losses: Callable[[Model], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Validation:
    """When a model is tested while it is trained; InputError for numbers below 1, and patience without tests.

    Attributes:
        split: of the data set, whose frames are not trained on.
        every: steps between two tests; there is one at the end, too. None: there are none.
        patience: the training ends after so many tests in a row without a better one than before; None: it goes on.
    """

    split: str
    every: int | None
    patience: int | None

    def __post_init__(self) -> None:
        for name, value in (("every", self.every), ("patience", self.patience)):
            if value is not None and value < 1:
                raise InputError(f"validation.{name}: found {value}, expected at least 1")
        if self.patience is not None and self.every is None:
            raise InputError(
                f"validation.patience: found {self.patience} without validation.every, expected the steps between tests"
            )


@dataclass(frozen=True)
class TrainingRun:
    """Where a training goes, and what is seen of it on the way.

    Attributes:
        checkpoint: the finished checkpoint, readable with `load_checkpoint`: a dictionary of `state_dict`, `arguments`,
            `losses`, `precision` (the arithmetic used) and `record`. Beside it lie the running state (`partial_path`),
            the numbers of each step (`metrics_path`), and of each validation (`validation_path`).
        seed: of the random numbers that layers draw.
        overwrite: what is there of another record is replaced.
        snapshots: numbers of steps after which the weights of that moment go to a file of their own: see
            `snapshot_path`. Steps that were taken before, in a run that goes on, leave none.
        logger: takes the numbers, too.
        validation: the best weights are kept in `best_path`; None: there is none.
    """

    checkpoint: Path
    seed: int = 0
    overwrite: bool = False
    snapshots: Collection[int] = ()
    logger: Logger = field(default_factory=CsvLogger)
    validation: Validation | None = None

    @property
    def early_stopping(self) -> dict[str, int]:
        """When a run with patience may end, for its record: tests change nothing, but where they end it."""
        if self.validation is None or self.validation.every is None or self.validation.patience is None:
            return {}
        return {"validation_every": self.validation.every, "patience": self.validation.patience}


@dataclass
class _State:
    """What a run knows of itself besides weights and optimizer: the loss of every step, the test losses so far."""

    losses: list[float] = field(default_factory=list)
    validations: list[dict[str, float]] = field(default_factory=list)

    def best(self) -> int:
        """Place of the first of the lowest test losses."""
        losses = [_decisive(each) for each in self.validations]
        return losses.index(min(losses))

    def is_hopeless(self, patience: int | None) -> bool:
        """Whether `patience` validations in a row were no better than one before them."""
        if patience is None or not self.validations:
            return False
        return len(self.validations) - 1 - self.best() >= patience


def fit(task: TrainingTask[Model, B], settings: TrainingSettings, run: TrainingRun) -> list[float]:
    """Train `task.model` in place and write `run.checkpoint`; return the loss of every step, over all processes.

    The running state (weights, optimizer, losses) goes to `partial_path(checkpoint)` every `settings.checkpoint_every`
    steps, and once a minute. A call that finds it goes on from it; one that finds the finished checkpoint only loads
    it; one that finds those of another record refuses them. The batch of a step depends on the step alone, and the
    random numbers that layers draw (dropout) on the seed and the step, so an interrupted run ends with the same bytes
    as one that was left alone, on the same device and number of threads: whoever makes the batches, validates or
    watches.

    Under torchrun all processes train the one model: each takes its shard of every step's batch, gradients are summed,
    and the first process writes the files, on storage that all of them see. A run goes on with any number of processes.

    The model is left in training mode on the device.

    Raises:
        DivergenceError: a loss or gradient is not finite; names the step and the frames.
        FormatError: what is there is unreadable or of another record, unless `run.overwrite`; or of another model.
        InputError: no such device, fewer items in a batch than shards of a step, or nothing to validate on.
        WorkerError: a process that makes batches died.
    """
    every, patience = (run.validation.every, run.validation.patience) if run.validation else (None, None)
    _require_sensible(task.steps, settings, run)
    if every is not None and task.test_losses is None:
        raise InputError(f"validation.every: found {every} and no data for it, expected data that is not trained on")
    processes = processes_on(settings.device)
    device, is_first = processes.device, processes.rank == 0
    model, checkpoint = task.model, run.checkpoint
    arithmetic = arithmetic_of(settings.precision, device)
    model.to(device).train()
    found = _found_state(task, run)
    # The first process may be the first to write them.
    processes.fabric.barrier()
    if found is None:
        return [float(loss) for loss in load_checkpoint(checkpoint)["losses"]]
    state = found
    shards = [
        BatchShard(turn * processes.count + processes.rank, processes.count * settings.accumulate)
        for turn in range(settings.accumulate)
    ]

    def content() -> dict[str, Any]:
        return {
            "state_dict": model.state_dict(), "arguments": dict(task.arguments), "losses": state.losses,
            "precision": arithmetic, "record": task.record.to_dict(),
        }  # fmt: skip

    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        stack.enter_context(arithmetic_threads(settings.threads))
        if settings.synchronised_batch_norm and processes.count > 1:
            stack.enter_context(synchronised_batch_norm(model))
        stack.enter_context(_only_trained(model, task.optimizer))
        curves = stack.enter_context(Curves.opened(run.logger, checkpoint, len(state.losses))) if is_first else None
        places = [(step, shard) for step in range(len(state.losses), task.steps) for shard in shards]
        feed = stack.enter_context(BatchFeed(task.batches, places, settings.workers, device))
        progress = stack.enter_context(progress_bar())
        bar = progress.add_task(task.description, total=task.steps, completed=len(state.losses), note="")
        objective = processes.fabric.setup_module(_Objective(model, task.compute_loss))
        parameters = [parameter for group in task.optimizer.param_groups for parameter in group["params"]]

        saved = time.monotonic()
        while len(state.losses) < task.steps and not state.is_hopeless(patience):
            step, began, waited = len(state.losses), time.perf_counter(), feed.waited_s
            learning_rate = task.learning_rate_at(step)
            for group in task.optimizer.param_groups:
                group["lr"] = learning_rate
            task.optimizer.zero_grad(set_to_none=True)
            frame_ids: list[str] = []
            parts: list[dict[str, Tensor]] = []
            for shard in shards:
                batch = next(feed)
                frame_ids += batch.frame_ids
                # Of the seed, PyTorch's generator on a processor takes the last 32 bits.
                torch.manual_seed(run.seed * 1_000_003 + step + shard.index * _SEED_STRIDE)
                with processes.fabric.no_backward_sync(objective, enabled=shard is not shards[-1]):
                    with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic == "bfloat16"):
                        terms = objective(batch)
                    # A sum of one is that one.
                    loss = terms["loss"]
                    processes.backward(loss / len(shards) if len(shards) > 1 else loss)
                parts.append({name: term.detach() for name, term in terms.items()})
            norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
            if task.max_gradient_norm is not None:
                nn.utils.clip_grads_with_norm_(parameters, task.max_gradient_norm, norm)
            task.optimizer.step()

            # From here on the host waits for the device: once a step.
            metrics = _summed(processes, parts)
            gradient_norm = float(norm)
            # Of gradients that are taken as they are, the squares of finite ones may be too large for float32.
            is_scaled = task.max_gradient_norm is not None
            if not math.isfinite(metrics["loss"]) or (is_scaled and not math.isfinite(gradient_norm)):
                _stop(processes, step, metrics["loss"], gradient_norm, parts, frame_ids)
            state.losses.append(metrics["loss"])
            took = time.perf_counter() - began
            metrics |= {
                "learning_rate": learning_rate,
                "gradient_norm": gradient_norm,
                "items_per_s": len(frame_ids) * processes.count / took,
                "waiting": (feed.waited_s - waited) / took,
                "memory_mib": peak_memory_mib(device),
            }
            done = len(state.losses)
            note = curves.add(done, metrics) if curves else ""
            if task.test_losses is not None and every is not None and (done % every == 0 or done == task.steps):
                measured = _measured(processes, model, task.test_losses)
                state.validations.append({"step": done, **measured})
                if curves:
                    curves.add_validation(done, measured)
                if is_first and state.best() == len(state.validations) - 1:
                    save_checkpoint(best_path(checkpoint), {**content(), "validation": state.validations[-1]})
            if is_first and done in run.snapshots:
                save_checkpoint(snapshot_path(checkpoint, done), content())
            is_due = done % settings.checkpoint_every == 0 or time.monotonic() - saved >= _SAVED_EVERY_S
            if curves and is_due and done < task.steps:
                curves.write()
                running = {"optimizer": task.optimizer.state_dict(), "validations": state.validations}
                save_checkpoint(partial_path(checkpoint), {**content(), **running})
                saved = time.monotonic()
            progress.update(bar, advance=1, note=note)
    if is_first:
        save_checkpoint(checkpoint, content())
        partial_path(checkpoint).unlink(missing_ok=True)
    processes.fabric.barrier()
    return state.losses


def snapshot_path(checkpoint: Path, steps: int) -> Path:
    """The file in which `fit` keeps the weights after `steps` steps: STEM.step-N.SUFFIX beside the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}.step-{steps}{checkpoint.suffix}")


def best_path(checkpoint: Path) -> Path:
    """The file in which `fit` keeps the weights of the lowest test loss: STEM.best.SUFFIX beside the checkpoint."""
    return checkpoint.with_name(f"{checkpoint.stem}.best{checkpoint.suffix}")


def was_kept_on_the_way(path: Path) -> bool:
    """Whether a file is one that `fit` kept beside a finished checkpoint: see `best_path` and `snapshot_path`."""
    stem, _, moment = path.stem.rpartition(".")
    return re.fullmatch(r"best|step-\d+", moment) is not None and path.with_name(f"{stem}{path.suffix}").is_file()


def partial_path(checkpoint: Path) -> Path:
    """Where `fit` keeps the running state of a checkpoint: beside it, under its whole name, so that no two share it."""
    return checkpoint.with_name(f"{checkpoint.name}.partial")


def require_unseen(shared: Collection[str]) -> None:
    """InputError, which names some, if there are frames to validate on that are trained on."""
    if shared:
        names = ", ".join(sorted(shared)[:3])
        found = f"{len(shared)} frames that are trained on ({names}{', ...' if len(shared) > 3 else ''})"
        raise InputError(f"validation: found {found}, expected others")


def is_finished(checkpoint: Path, record: Record, overwrite: bool = False) -> bool:
    """Whether `fit` would find this checkpoint finished: asked before data is read that takes a while.

    Raises:
        FormatError: a checkpoint, or a running state, that is unreadable or of another record, unless `overwrite`.
    """
    for path in (checkpoint, partial_path(checkpoint)):
        if path.exists() and _found(path, record, overwrite) is not None:
            return path == checkpoint
    return False


def _require_sensible(steps: int, settings: TrainingSettings, run: TrainingRun) -> None:
    require_checkpoint_path(run.checkpoint)
    for name, value, least in (
        ("steps", steps, 0),
        ("accumulate", settings.accumulate, 1),
        ("workers", settings.workers, 0),
        ("checkpoint_every", settings.checkpoint_every, 1),
    ):
        if value < least:
            raise InputError(f"{name}: found {value}, expected at least {least}")


def _found_state(task: TrainingTask[Any, Any], run: TrainingRun) -> _State | None:
    """The state that a run begins with, its weights in the model; None if there is nothing left to do."""
    for path in (run.checkpoint, partial_path(run.checkpoint)):
        content = _found(path, task.record, run.overwrite) if path.exists() else None
        if content is None:
            continue
        try:
            task.model.load_state_dict(content["state_dict"])
        except RuntimeError as error:
            found = str(error).split("\n")[-1].strip()
            raise FormatError(path, "state_dict", found, "the weights of this model") from error
        if path == run.checkpoint:
            return None
        task.optimizer.load_state_dict(content["optimizer"])
        return _State([float(loss) for loss in content["losses"]], [dict(each) for each in content["validations"]])
    return _State()


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


class _Objective(nn.Module):
    """The loss as a module: what goes through it goes through DistributedDataParallel, whatever the loss calls."""

    def __init__(self, model: nn.Module, compute_loss: Callable[[Any, Any], Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.model = model
        self.compute_loss = compute_loss

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The terms by name, and their sum, `loss`; of one term it alone."""
        terms = dict(self.compute_loss(self.model, batch))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        return {"loss": loss, **(terms if len(terms) > 1 else {})}


def _summed(processes: Processes, parts: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """The terms of a step by name, over all shards and processes."""
    means = [torch.stack([part[name].double() for part in parts]).mean() for name in parts[0]]
    return dict(zip(parts[0], processes.sum(torch.stack(means)), strict=True))


def _stop(
    processes: Processes, step: int, loss: float, norm: float, parts: Sequence[Mapping[str, Tensor]], frames: list[str]
) -> NoReturn:
    """End all processes, with a word from the first alone."""
    if math.isfinite(loss):
        reason, own = f"the gradient's norm is {norm}", frames
    else:
        is_mine = any(not math.isfinite(float(part["loss"])) for part in parts)
        reason, own = f"the loss is {loss}", frames if is_mine else []
    everybody = chain(*processes.gathered(own))
    if processes.rank > 0:
        time.sleep(_LAST_WORDS_S)
        raise SystemExit(2)
    raise DivergenceError(f"step {step}: {reason}; frames {', '.join(everybody)}")


def _measured(
    processes: Processes, model: Model, test_losses: Callable[[Model], Mapping[str, float]]
) -> dict[str, float]:
    """The test losses, measured by the first process, known to all."""
    measured: dict[str, float] = {}
    if processes.rank == 0:
        model.eval()
        measured = {name: float(value) for name, value in test_losses(model).items()}
        model.train()
    return processes.gathered(measured)[0]


def _decisive(measured: Mapping[str, float]) -> float:
    """The test loss that decides; nothing found yet, say, is as bad as can be."""
    loss = next(value for name, value in measured.items() if name != "step")
    return loss if math.isfinite(loss) else math.inf


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
