"""Validation on the way: the best weights are kept, a run without progress ends, what is trained stays the same."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pseudolidar.files import InputError, Record
from pseudolidar.training import (
    Batch,
    BatchShard,
    CsvLogger,
    Logger,
    TrainingRun,
    TrainingTask,
    Validation,
    best_path,
    fit,
    load_checkpoint,
    partial_path,
    read_metrics,
    snapshot_path,
    validation_path,
    was_kept_on_the_way,
)
from tests.training.interrupted import Interrupting
from tests.training.plain import PLAIN
from tests.training.several_processes import SeveralProcesses

STEPS = 25
EVERY = 4
# Of the weights after 4, 8, ..., 24 and 25 steps.
FALLING = (9.0, 7.0, 5.0, 4.0, 3.0, 2.0, 1.0)
BEST_THIRD = (9.0, 7.0, 5.0, 6.0, 5.0, 8.0, 7.0)


@pytest.fixture(scope="module")
def two() -> Iterator[SeveralProcesses]:
    with SeveralProcesses(2) as processes:
        yield processes


@dataclass(frozen=True)
class Points(Batch):
    inputs: Tensor


def points_at(step: int, shard: BatchShard) -> Points:
    places = shard.of(8)
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(step))
    return Points((f"{step:06d}",), inputs[places.start : places.stop])


def squared_error(model: nn.Module, batch: Points) -> dict[str, Tensor]:
    return {"error": (model(batch.inputs) - batch.inputs.sum(dim=1, keepdim=True)).square().mean()}


def train(
    checkpoint: Path,
    losses: Sequence[float] = (),
    every: int | None = EVERY,
    patience: int | None = None,
    logger: Logger | None = None,
) -> list[float]:
    """A run whose test losses are these; without any it is not validated."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))

    def test_losses(network: nn.Module) -> Mapping[str, float]:
        assert not network.training and not network[1].training  # type: ignore[index]
        # What is called for the second time after an interruption is known by the statistics of the batch norm.
        steps = int(network[1].num_batches_tracked)  # type: ignore[index]
        return {"error": losses[math.ceil(steps / EVERY) - 1], "steps": steps}

    task = TrainingTask(
        model=model, batches=points_at, compute_loss=squared_error, steps=STEPS,
        optimizer=torch.optim.AdamW(model.parameters()), learning_rate_at=lambda step: 0.02,
        record=Record("points", {}, {}), description="points", test_losses=test_losses if losses else None,
    )  # fmt: skip
    validation = Validation("val", every, patience) if losses else None
    run = TrainingRun(checkpoint, logger=logger or CsvLogger(), validation=validation)
    return fit(task, dataclasses.replace(PLAIN, checkpoint_every=10), run)


@pytest.mark.parametrize(("losses", "best"), [(FALLING, 25), (BEST_THIRD, 12), ((math.nan, *FALLING[1:]), 25)])
def test_the_best_weights_are_kept_and_nothing_else_changes(tmp_path: Path, losses: Sequence[float], best: int) -> None:
    train(tmp_path / "alone.pt")
    train(tmp_path / "a.pt", losses)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "alone.pt").read_bytes()
    measured = read_metrics(validation_path(tmp_path / "a.pt"))
    assert measured["step"] == measured["steps"] == [4, 8, 12, 16, 20, 24, 25]
    assert measured["error"] == pytest.approx(list(losses), nan_ok=True)
    content = load_checkpoint(best_path(tmp_path / "a.pt"))
    assert content["validation"] == {"step": best, "error": losses[math.ceil(best / EVERY) - 1], "steps": best}
    assert len(content["losses"]) == content["state_dict"]["1.num_batches_tracked"] == best


def test_where_nothing_is_ever_found_the_first_is_the_best(tmp_path: Path) -> None:
    train(tmp_path / "a.pt", [math.nan] * 7)
    assert load_checkpoint(best_path(tmp_path / "a.pt"))["validation"]["step"] == 4


@pytest.mark.parametrize(
    ("losses", "patience", "end"),
    [(BEST_THIRD, 1, 16), (BEST_THIRD, 2, 20), (BEST_THIRD, 5, 25), (FALLING, 1, 25), ([math.nan] * 7, 2, 12)],
)
def test_a_run_without_progress_ends(tmp_path: Path, losses: Sequence[float], patience: int, end: int) -> None:
    assert len(train(tmp_path / "a.pt", losses, patience=patience)) == end
    assert len(load_checkpoint(tmp_path / "a.pt")["losses"]) == end
    assert not partial_path(tmp_path / "a.pt").exists()
    # There is nothing left to do.
    assert len(train(tmp_path / "a.pt", losses, patience=patience)) == end


@pytest.mark.parametrize("patience", [None, 1, 2])
@pytest.mark.parametrize("killed_at", [11, 13, 15, 16])
def test_an_interrupted_run_keeps_the_same_bytes(tmp_path: Path, patience: int | None, killed_at: int) -> None:
    train(tmp_path / "whole.pt", BEST_THIRD, patience=patience)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "a.pt", BEST_THIRD, patience=patience, logger=Interrupting(killed_at))
    train(tmp_path / "a.pt", BEST_THIRD, patience=patience)
    for path_of in (Path, best_path, validation_path):
        assert path_of(tmp_path / "a.pt").read_bytes() == path_of(tmp_path / "whole.pt").read_bytes()


@pytest.mark.parametrize("patience", [None, 2])
def test_several_processes_end_together(two: SeveralProcesses, tmp_path: Path, patience: int | None) -> None:
    two(train, tmp_path / "alone.pt")
    losses, others = two(train, tmp_path / "a.pt", BEST_THIRD, EVERY, patience)
    assert losses == others and len(losses) == (25 if patience is None else 20)
    assert load_checkpoint(best_path(tmp_path / "a.pt"))["validation"]["step"] == 12
    if patience is None:
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "alone.pt").read_bytes()


@pytest.mark.parametrize(
    ("every", "patience", "message"),
    [
        (0, None, "validation.every: found 0, expected at least 1"),
        (5, 0, "validation.patience: found 0, expected at least 1"),
        (None, 3, "validation.patience: found 3 without validation.every, expected"),
    ],
)
def test_numbers_that_make_no_sense(every: int | None, patience: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Validation("val", every, patience)


def test_there_must_be_something_to_validate_on(tmp_path: Path) -> None:
    model = nn.Linear(4, 1)
    task = TrainingTask(
        model=model, batches=points_at, compute_loss=squared_error, steps=1,
        optimizer=torch.optim.SGD(model.parameters()), learning_rate_at=lambda step: 0.1,
        record=Record("points", {}, {}), description="points",
    )  # fmt: skip
    with pytest.raises(InputError, match=r"validation\.every: found 5 and no data for it"):
        fit(task, PLAIN, TrainingRun(tmp_path / "a.pt", validation=Validation("val", 5, None)))


def test_what_was_kept_on_the_way_is_known_by_its_name_beside_the_checkpoint(tmp_path: Path) -> None:
    checkpoint = tmp_path / "u.safetensors"
    kept = [best_path(checkpoint), snapshot_path(checkpoint, 500)]
    for path in (*kept, tmp_path / "u.last.safetensors", tmp_path / "other.best.safetensors"):
        path.touch()
    assert not any(map(was_kept_on_the_way, tmp_path.iterdir()))
    checkpoint.touch()
    assert sorted(filter(was_kept_on_the_way, tmp_path.iterdir())) == sorted(kept)
