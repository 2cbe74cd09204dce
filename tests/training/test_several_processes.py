"""Several processes train as one does: the same losses, checkpoints that go on with any number, one message."""

import dataclasses
import functools
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pseudolidar.files import DivergenceError, Record, replacing
from pseudolidar.training import (
    WHOLE_BATCH,
    Batch,
    BatchShard,
    TrainingRun,
    TrainingTask,
    fit,
    load_checkpoint,
    shard_weight,
)
from pseudolidar.training.batch_norm import synchronised_batch_norm
from pseudolidar.training.processes import processes_on
from tests.forked import forking
from tests.training.plain import PLAIN
from tests.training.several_processes import SeveralProcesses, become, free_port

BATCH_SIZE = 7


@pytest.fixture(scope="module")
def two() -> Iterator[SeveralProcesses]:
    with SeveralProcesses(2) as processes:
        yield processes


@dataclass(frozen=True)
class Signals(Batch):
    """Signals (B, 3, 5), of which only some of the values count."""

    inputs: Tensor
    counts: Tensor


@dataclass(frozen=True)
class Run:
    """A run on signals, some of whose values count; after `last_batch` it ends as if it were killed."""

    checkpoint: Path
    steps: int = 20
    batch_norm: bool = True
    synchronise: bool = True
    dropout: float = 0.0
    accumulate: int = 1
    last_batch: int | None = None
    broken_frame: str | None = None

    def batch_at(self, step: int, shard: BatchShard = WHOLE_BATCH) -> Signals:
        if self.last_batch is not None and step > self.last_batch:
            raise KilledError
        places = shard.of(BATCH_SIZE)
        random = np.random.default_rng(step)
        inputs = torch.from_numpy(random.normal(3, 2, (BATCH_SIZE, 3, 5)).astype(np.float32))
        counts = torch.from_numpy(random.random((BATCH_SIZE, 5)) < np.linspace(0.1, 0.9, BATCH_SIZE)[:, None])
        frame_ids = [f"{step:03d}-{place}" for place in range(BATCH_SIZE)]
        if self.broken_frame in frame_ids:
            inputs[frame_ids.index(self.broken_frame)] = torch.nan
        own = slice(places.start, places.stop)
        return Signals(tuple(frame_ids[own]), inputs[own], counts[own])

    def __call__(self) -> list[float]:
        torch.manual_seed(0)
        norm = nn.BatchNorm1d(8) if self.batch_norm else nn.Identity()
        # Without a bias that the norm would take away again: Adam would make steps of its rounding errors.
        first = nn.Conv1d(3, 8, 1, bias=False)
        model = nn.Sequential(first, norm, nn.Tanh(), nn.Dropout(self.dropout), nn.Conv1d(8, 1, 1))
        task = TrainingTask(
            model=model, batches=self.batch_at, compute_loss=mean_error, steps=self.steps,
            optimizer=torch.optim.AdamW(model.parameters()), learning_rate_at=lambda step: 0.003, record=RECORD,
            description="signals", arguments={"width": 8}, max_gradient_norm=1.0,
        )  # fmt: skip
        changes = {"checkpoint_every": 5, "accumulate": self.accumulate, "synchronised_batch_norm": self.synchronise}
        return fit(task, dataclasses.replace(PLAIN, **changes), TrainingRun(self.checkpoint))  # type: ignore[arg-type]


RECORD = Record("signals", {}, {})


class KilledError(Exception):
    pass


def mean_error(model: nn.Module, batch: Signals) -> dict[str, Tensor]:
    error = (model(batch.inputs)[:, 0] - batch.inputs.sum(dim=1).sin()).abs()[batch.counts]
    return {"error": error.sum() / max(1, len(error)) * shard_weight(batch.counts.sum())}


@given(size=st.integers(1, 50), count=st.integers(1, 50))
def test_the_parts_of_a_batch_are_the_batch(size: int, count: int) -> None:
    shards = [BatchShard(index, count) for index in range(count)]
    if size < count:
        with pytest.raises(ValueError, match=f"batch_size: found {size}, expected at least {count}"):
            shards[0].of(size)
        return
    assert [place for shard in shards for place in shard.of(size)] == list(range(size))
    sizes = {len(shard.of(size)) for shard in shards}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("batch_norm", [True, False])
def test_two_processes_lose_what_one_does(two: SeveralProcesses, tmp_path: Path, batch_norm: bool) -> None:
    alone = Run(tmp_path / "one.pt", batch_norm=batch_norm)()
    first, second = two(Run(tmp_path / "two.pt", batch_norm=batch_norm))
    assert first == second
    np.testing.assert_allclose(first, alone, rtol=1e-5)
    one, both = (load_checkpoint(tmp_path / name)["state_dict"] for name in ("one.pt", "two.pt"))
    for name, tensor in one.items():
        torch.testing.assert_close(both[name], tensor, rtol=1e-3, atol=1e-5)
    assert not list(tmp_path.glob("*.partial"))


def test_statistics_of_their_own_parts_are_others(two: SeveralProcesses, tmp_path: Path) -> None:
    alone = Run(tmp_path / "one.pt", steps=2)()
    losses, _ = two(Run(tmp_path / "two.pt", steps=2, synchronise=False))
    assert abs(losses[0] - alone[0]) > 1e-4 * alone[0]


def test_resuming_on_another_number_of_processes(two: SeveralProcesses, tmp_path: Path) -> None:
    undisturbed, _ = two(Run(tmp_path / "whole.pt"))
    run = Run(tmp_path / "broken.pt")
    for error in two(dataclasses.replace(run, last_batch=7)):
        assert isinstance(error, KilledError)
    assert load_checkpoint(tmp_path / "broken.pt.partial")["losses"] == undisturbed[:5]
    with pytest.raises(KilledError):
        dataclasses.replace(run, last_batch=12)()
    assert len(load_checkpoint(tmp_path / "broken.pt.partial")["losses"]) == 10
    losses, _ = two(run)
    np.testing.assert_allclose(losses, undisturbed, rtol=1e-5)
    assert not (tmp_path / "broken.pt.partial").exists()
    # One process loads what two have finished.
    assert run() == losses


def test_a_killed_run_of_two_ends_with_the_same_bytes(two: SeveralProcesses, tmp_path: Path) -> None:
    two(Run(tmp_path / "whole.pt", dropout=0.3))
    run = Run(tmp_path / "broken.pt", dropout=0.3)
    two(dataclasses.replace(run, last_batch=13))
    two(run)
    assert (tmp_path / "broken.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()


def test_processes_drop_out_other_values(two: SeveralProcesses) -> None:
    first, second = two(dropped_ones)
    assert not torch.equal(first, second)


def dropped_ones() -> Tensor:
    """What a dropout of this process makes of ones in the first step."""
    drawn: list[Tensor] = []
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))

    def loss(network: nn.Module, batch: Signals) -> dict[str, Tensor]:
        drawn.append(network[1](torch.ones(64)))  # type: ignore[index]
        return {"sum": network(batch.inputs).sum()}

    def batch_at(step: int, shard: BatchShard) -> Signals:
        if step:
            raise KilledError
        return Signals(("000",), torch.ones(4, 1), torch.ones(4, 1))

    with pytest.raises(KilledError):
        task = TrainingTask(
            model=model, batches=batch_at, compute_loss=loss, steps=2, optimizer=torch.optim.SGD(model.parameters()),
            learning_rate_at=lambda step: 0.1, record=RECORD, description="",
        )  # fmt: skip
        fit(task, PLAIN, TrainingRun(Path(tempfile.mkdtemp()) / "nowhere.pt"))
    return drawn[0]


def test_accumulated_parts_are_the_batch_where_they_are_alike(tmp_path: Path) -> None:
    whole = Run(tmp_path / "whole.pt", batch_norm=False)
    weights: list[dict[str, Tensor]] = []
    for run in (whole, dataclasses.replace(whole, checkpoint=tmp_path / "parts.pt", accumulate=BATCH_SIZE)):
        fit_on_alike(run)
        weights.append(load_checkpoint(run.checkpoint)["state_dict"])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=1e-4, atol=1e-5)


def fit_on_alike(run: Run) -> list[float]:
    """The run, with a loss that is a mean over as many values in every item."""
    torch.manual_seed(0)
    model = nn.Conv1d(3, 1, 1)

    def loss(network: nn.Module, batch: Signals) -> dict[str, Tensor]:
        error: Tensor = (network(batch.inputs)[:, 0] - batch.inputs.sum(dim=1)).abs()
        return {"error": error.mean() * shard_weight(torch.tensor(len(batch.inputs)))}

    task = TrainingTask(
        model=model, batches=run.batch_at, compute_loss=loss, steps=run.steps,
        optimizer=torch.optim.SGD(model.parameters()), learning_rate_at=lambda step: 0.01, record=RECORD,
        description="",
    )  # fmt: skip
    return fit(task, dataclasses.replace(PLAIN, accumulate=run.accumulate), TrainingRun(run.checkpoint))


def test_two_processes_accumulate_as_one(two: SeveralProcesses, tmp_path: Path) -> None:
    alone = Run(tmp_path / "one.pt", accumulate=2)()
    losses, _ = two(Run(tmp_path / "two.pt", accumulate=2))
    np.testing.assert_allclose(losses, alone, rtol=1e-5)
    assert abs(alone[0] - Run(tmp_path / "whole.pt", steps=1)()[0]) > 1e-4 * alone[0]


def test_nothing_to_accumulate(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="accumulate: found 0, expected at least 1"):
        Run(tmp_path / "a.pt", accumulate=0)()
    with pytest.raises(ValueError, match="batch_size: found 7, expected at least 8"):
        Run(tmp_path / "a.pt", accumulate=8)()


def test_a_broken_frame_in_one_process_stops_both(two: SeveralProcesses, tmp_path: Path) -> None:
    first, second = two(Run(tmp_path / "a.pt", broken_frame="004-6", batch_norm=False))
    assert isinstance(first, DivergenceError) and isinstance(second, SystemExit)
    assert str(first) == "step 4: the loss is nan; frames 004-3, 004-4, 004-5, 004-6"
    assert not list(tmp_path.glob("*.pt*")) or [path.name for path in tmp_path.iterdir()] == ["a.pt.metrics.csv"]


def test_a_process_ends_with_a_torchrun_that_is_killed(tmp_path: Path) -> None:
    torchrun = forking().Process(target=start_the_second_of_two, args=(tmp_path / "number",))
    torchrun.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "number").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    second = int((tmp_path / "number").read_text())
    assert is_running(second), "it waits for the first"
    torchrun.kill()
    torchrun.join()
    while is_running(second) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(second)


def start_the_second_of_two(number: Path) -> None:
    process = os.fork()
    if process == 0:
        become(1, 2, free_port(), 1)
        processes_on("cpu")
    with replacing(number) as temporary:
        temporary.write_text(str(process))
    os.wait()


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_device_by_number_is_refused(two: SeveralProcesses) -> None:
    for error in two(processes_on, "cuda:0"):
        assert isinstance(error, ValueError) and "device: found 'cuda:0' under torchrun" in str(error)
    if torch.cuda.device_count() < 2:
        assert any("device: found 'cuda" in str(error) for error in two(processes_on, "cuda"))


@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 3), (5, 4, 3, 2), (3, 4, 2, 3, 2)])
def test_synchronised_batch_norm_is_that_of_the_whole_batch(two: SeveralProcesses, shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3 + 100
    norm = norm_of(shape)
    weight = torch.arange(values.numel()).view(shape).cos()
    inputs = values.clone().requires_grad_()
    outputs = norm(inputs)
    (outputs * weight).sum().backward()
    halves = two(normalised_part, values, weight)
    # Around a mean of 100 float32 has some five digits left.
    close = functools.partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(torch.cat([half[0] for half in halves]), outputs.detach())
    assert inputs.grad is not None and norm.weight.grad is not None
    close(torch.cat([half[1] for half in halves]), inputs.grad)
    close(halves[0][2] + halves[1][2], norm.weight.grad)
    for _, _, _, state, names in halves:
        assert names == list(norm.state_dict())
        for name, tensor in norm.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=1e-5, atol=1e-5)


def norm_of(shape: tuple[int, ...]) -> _BatchNorm:
    kinds = {4: nn.BatchNorm2d, 5: nn.BatchNorm3d}
    norm = kinds.get(len(shape), nn.BatchNorm1d)(4)
    nn.init.normal_(norm.weight, generator=torch.Generator().manual_seed(2))
    return norm


def normalised_part(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor], list[str]]:
    """Output, gradients of values and weight, state, and names of the state, of this process's part."""
    processes = processes_on("cpu")
    places = BatchShard(processes.rank, processes.count).of(len(values))
    own = slice(places.start, places.stop)
    norm = norm_of(tuple(values.shape))
    inputs = values[own].clone().requires_grad_()
    with synchronised_batch_norm(norm):
        outputs = norm(inputs)
        (outputs * weight[own]).sum().backward()
    assert inputs.grad is not None and norm.weight.grad is not None
    assert "forward" not in vars(norm)
    return outputs.detach(), inputs.grad, norm.weight.grad, norm.state_dict(), list(norm.state_dict())


def test_other_devices_take_torchs_own(two: SeveralProcesses) -> None:
    # As far as a machine without several GPUs goes: PyTorch's module is asked, and refuses what has no values.
    for error in two(normalised_on_meta):
        assert isinstance(error, ValueError) and "SyncBatchNorm expected input tensor to be on GPU" in str(error)


def normalised_on_meta() -> None:
    processes_on("cpu")
    norm = nn.BatchNorm2d(4).to("meta")
    with synchronised_batch_norm(norm):
        norm(torch.ones(2, 4, 3, 3, device="meta"))
