"""Batches made by worker processes: the same bytes, errors that name the file, workers that die."""

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pseudolidar.files import FormatError, Record, WorkerError
from pseudolidar.training import (
    WHOLE_BATCH,
    Batch,
    BatchShard,
    TrainingRun,
    TrainingTask,
    batches,
    fit,
    load_checkpoint,
    partial_path,
)
from pseudolidar.training.batches import BatchFeed
from tests.training.plain import PLAIN

STEPS = 12


@dataclass(frozen=True)
class Rows(Batch):
    inputs: Tensor
    targets: Tensor
    made_by: int = 0


@dataclass(frozen=True)
class RowSource:
    """Rows from a file for each step; makes them slowly if asked to."""

    folder: Path
    delay_s: float = 0.0

    def __call__(self, step: int, shard: BatchShard = WHOLE_BATCH) -> Rows:
        time.sleep(self.delay_s)
        path = self.folder / f"{step:06d}.npy"
        values = np.load(path) if path.stat().st_size > 100 else None
        if values is None:
            raise FormatError(path, "file", "half of it", "rows")
        inputs = torch.from_numpy(values[shard.of(len(values)).start : shard.of(len(values)).stop])
        return Rows((f"{step:06d}",) * len(inputs), inputs, inputs.sum(dim=1, keepdim=True), os.getpid())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in range(STEPS):
        np.save(tmp_path / f"{step:06d}.npy", np.random.default_rng(step).normal(size=(6, 4)).astype(np.float32))
    return tmp_path


def squared_error(model: nn.Module, batch: Rows) -> dict[str, Tensor]:
    return {"error": (model(batch.inputs) - batch.targets).square().mean()}


def train(
    source: RowSource,
    checkpoint: Path,
    workers: int,
    accumulate: int = 1,
    compute_loss: Callable[[nn.Module, Rows], dict[str, Tensor]] = squared_error,
) -> list[float]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
    task = TrainingTask(
        model=model, batches=source, compute_loss=compute_loss, steps=STEPS,
        optimizer=torch.optim.AdamW(model.parameters()), learning_rate_at=lambda step: 0.01,
        record=Record("rows", {}, {}), description="rows",
    )  # fmt: skip
    settings = dataclasses.replace(PLAIN, workers=workers, accumulate=accumulate, checkpoint_every=4)
    return fit(task, settings, TrainingRun(checkpoint))


# Three workers on two processors.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_any_number_of_workers_trains_the_same_bytes(
    folder: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "processors", lambda: 3)
    found = set()
    for workers in (0, 1, 3):
        train(RowSource(folder), folder / f"{workers}.pt", workers, accumulate)
        found.add((folder / f"{workers}.pt").read_bytes())
    assert len(found) == 1


def test_workers_make_the_batches_in_order_and_are_as_many_as_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "processors", lambda: 2)
    shards = [BatchShard(0, 2), BatchShard(1, 2)]
    places = [(step, shard) for step in range(STEPS) for shard in shards]
    with BatchFeed(RowSource(folder), places, 3, torch.device("cpu")) as feed:
        made = [next(feed) for _ in places]
        with pytest.raises(StopIteration):
            next(feed)
    assert [batch.frame_ids[0] for batch in made] == [f"{step:06d}" for step, _ in places]
    assert len({batch.made_by for batch in made}) == 2 and os.getpid() not in {batch.made_by for batch in made}
    assert feed.waited_s > 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_is_named_and_the_run_goes_on_when_it_is_mended(folder: Path, workers: int) -> None:
    train(RowSource(folder), folder / "whole.pt", 0)
    broken = folder / "000009.npy"
    content = broken.read_bytes()
    broken.write_bytes(content[:60])
    with pytest.raises(FormatError, match=r"000009\.npy: file: found half of it"):
        train(RowSource(folder), folder / "a.pt", workers)
    assert len(load_checkpoint(partial_path(folder / "a.pt"))["losses"]) == 8
    broken.write_bytes(content)
    train(RowSource(folder), folder / "a.pt", workers)
    assert (folder / "a.pt").read_bytes() == (folder / "whole.pt").read_bytes()


def test_a_worker_that_is_killed_ends_the_run_which_can_go_on(folder: Path) -> None:
    train(RowSource(folder), folder / "whole.pt", 0)

    def killing(model: nn.Module, batch: Rows) -> dict[str, Tensor]:
        if partial_path(folder / "a.pt").exists():
            os.kill(batch.made_by, signal.SIGKILL)
        return squared_error(model, batch)

    with pytest.raises(WorkerError, match=r"workers: found DataLoader worker.*out of memory.*goes on from"):
        train(RowSource(folder, 0.05), folder / "a.pt", 1, compute_loss=killing)
    train(RowSource(folder), folder / "a.pt", 1)
    assert (folder / "a.pt").read_bytes() == (folder / "whole.pt").read_bytes()


def test_the_callers_random_numbers_are_left_alone(folder: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with BatchFeed(RowSource(folder), [(0, WHOLE_BATCH)], 1, torch.device("cpu")) as feed:
        next(feed)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_no_worker_outlives_a_run_that_fails(folder: Path) -> None:
    (folder / "000003.npy").write_bytes(b"")
    with pytest.raises(FormatError, match="000003"):
        train(RowSource(folder), folder / "a.pt", 2)
    deadline = time.monotonic() + 60
    while batch_makers() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not batch_makers()


def batch_makers() -> dict[int, str]:
    """The command lines of this process's children that make batches, by number."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        children: list[str] = []
        with suppress(OSError):  # the thread has ended, and what it started is another one's child
            children = (task / "children").read_text().split()
        for child in children:
            with suppress(OSError):
                line = Path(f"/proc/{child}/cmdline").read_text()
                if "loky" in line and "resource_tracker" not in line:
                    found[int(child)] = line
    return found
