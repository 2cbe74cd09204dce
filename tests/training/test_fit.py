"""The training loop: resuming to the byte, precision, errors, checkpoints."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pseudolidar.files import DivergenceError, FormatError, InputError, Record
from pseudolidar.training import (
    WHOLE_BATCH,
    Batch,
    BatchShard,
    Precision,
    TrainingRun,
    TrainingTask,
    fit,
    load_checkpoint,
    metrics_path,
    partial_path,
    read_metrics,
    save_checkpoint,
)
from tests.training.plain import PLAIN


@dataclass(frozen=True)
class Points(Batch):
    inputs: Tensor
    targets: Tensor


def points_at(step: int, shard: BatchShard = WHOLE_BATCH) -> Points:
    generator = torch.Generator().manual_seed(step)
    inputs = torch.randn(16, 4, generator=generator)
    return Points((f"{step:06d}",), inputs, inputs.sum(dim=1, keepdim=True))


def squared_error(model: nn.Module, batch: Points) -> dict[str, Tensor]:
    return {"error": (model(batch.inputs) - batch.targets).square().mean()}


def record_of(**settings: int) -> Record:
    return Record("points", settings, {})


def network() -> nn.Module:
    # Dropout and batch normalisation: their random numbers and statistics must survive an interruption too.
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def task_of(model: nn.Module, **changes: Any) -> TrainingTask[nn.Module, Points]:
    """A task on points, with changes."""
    task = TrainingTask(
        model=model, batches=points_at, compute_loss=squared_error, steps=25,
        optimizer=torch.optim.AdamW(model.parameters()), learning_rate_at=lambda step: 0.02 / (1 + step / 10),
        record=record_of(), description="points",
    )  # fmt: skip
    return dataclasses.replace(task, **changes)


def train(
    checkpoint: Path,
    batches: Callable[[int, BatchShard], Points] = points_at,
    steps: int = 25,
    precision: Precision = "float32",
    seed: int = 0,
    overwrite: bool = False,
    workers: int = 0,
) -> tuple[nn.Module, list[float]]:
    model = network()
    record = record_of(steps=steps, seed=seed)
    task = task_of(model, batches=batches, steps=steps, record=record, arguments={"width": 8}, max_gradient_norm=10.0)
    settings = dataclasses.replace(PLAIN, precision=precision, checkpoint_every=10, workers=workers)
    return model, fit(task, settings, TrainingRun(checkpoint, seed, overwrite))


def descent(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters())


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    ("precision", "suffix"), [("float32", ".pt"), ("bfloat16", ".pt"), ("float32", ".safetensors")]
)
@pytest.mark.parametrize(("killed_at", "resumed_at"), [(3, 0), (17, 10), (20, 20), (23, 20)])
def test_an_interrupted_run_ends_with_the_same_bytes(
    tmp_path: Path, killed_at: int, resumed_at: int, precision: Precision, suffix: str
) -> None:
    whole, broken = tmp_path / f"whole{suffix}", tmp_path / f"broken{suffix}"
    _, undisturbed = train(whole, precision=precision)

    def killed(step: int, shard: BatchShard) -> Points:
        if step == killed_at:
            raise KilledError
        return points_at(step, shard)

    with pytest.raises(KilledError):
        train(broken, killed, precision=precision)
    assert not (tmp_path / "broken.pt").exists()
    assert partial_path(broken).exists() == (resumed_at > 0)
    asked: list[int] = []

    def recorded(step: int, shard: BatchShard) -> Points:
        asked.append(step)
        return points_at(step, shard)

    _, losses = train(broken, recorded, precision=precision)
    assert asked[0] == resumed_at
    assert losses == undisturbed
    assert broken.read_bytes() == whole.read_bytes()
    assert sorted(tmp_path.iterdir()) == sorted([broken, metrics_path(broken), whole, metrics_path(whole)])


def test_slow_steps_are_saved_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pseudolidar.training.loop._SAVED_EVERY_S", 0.0)

    def killed(step: int, shard: BatchShard) -> Points:
        if step == 5:
            raise KilledError
        return points_at(step, shard)

    with pytest.raises(KilledError):
        train(tmp_path / "slow.pt", killed)
    assert len(load_checkpoint(partial_path(tmp_path / "slow.pt"))["losses"]) == 5


def test_fewer_steps_than_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="steps: found -1, expected at least 0"):
        train(tmp_path / "model.pt", steps=-1)


def test_the_seed_decides_what_layers_draw(tmp_path: Path) -> None:
    _, first = train(tmp_path / "a.pt", seed=1)
    _, again = train(tmp_path / "b.pt", seed=1)
    _, other = train(tmp_path / "c.pt", seed=2)
    assert first == again
    assert first != other


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters())
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(task_of(model, steps=3, optimizer=optimizer), PLAIN, TrainingRun(tmp_path / "a.pt"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors", "a.SafeTensors"])
def test_it_learns_and_a_finished_run_is_only_loaded(tmp_path: Path, name: str) -> None:
    model, losses = train(tmp_path / name, steps=300)
    assert sum(losses[-20:]) < 0.5 * sum(losses[:20])

    def never(step: int, shard: BatchShard) -> Points:
        raise AssertionError("a finished run asked for a batch")

    loaded, same = train(tmp_path / name, never, steps=300)
    assert same == losses
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[key])
    content = load_checkpoint(tmp_path / name)
    assert content["arguments"] == {"width": 8}
    assert content["losses"] == losses
    assert content["precision"] == "float32"
    if name != "a.pt":
        # As everybody else reads it.
        others = load_file(tmp_path / name)
        assert others.keys() == content["state_dict"].keys() and torch.equal(others["0.bias"], loaded[0].bias)  # type: ignore[index]


def test_the_learning_rate_of_each_step_is_used(tmp_path: Path) -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    batch = Points(("000000",), torch.ones(1, 1), torch.zeros(1, 1))
    rates = [0.5, 0.25, 0.125]
    # The gradient of the weight itself is 1, so SGD subtracts exactly the learning rate.
    task = task_of(
        model,
        batches=lambda step, shard: batch,
        compute_loss=lambda network, points: {"sum": network(points.inputs).sum()},
        steps=3,
        optimizer=descent(model),
        learning_rate_at=lambda step: rates[step],
    )
    fit(task, PLAIN, TrainingRun(tmp_path / "a.pt"))
    assert model.weight.item() == -0.875


def test_gradients_are_scaled_down_to_the_largest_norm(tmp_path: Path) -> None:
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    batch = Points(("000000",), torch.tensor([[30.0, 40.0]]), torch.zeros(1, 1))
    task = task_of(
        model,
        batches=lambda step, shard: batch,
        compute_loss=lambda network, points: {"sum": network(points.inputs).sum()},
        steps=1,
        optimizer=descent(model),
        learning_rate_at=lambda step: 1.0,
        max_gradient_norm=5.0,
    )
    fit(task, PLAIN, TrainingRun(tmp_path / "a.pt"))
    assert torch.allclose(model.weight, torch.tensor([[-3.0, -4.0]]), atol=1e-4)


def test_a_loss_that_is_not_finite_names_step_and_frames(tmp_path: Path) -> None:
    def broken_at(step: int, shard: BatchShard) -> Points:
        batch = points_at(step, shard)
        return Points(("000007", "000009"), batch.inputs / 0, batch.targets) if step == 12 else batch

    with pytest.raises(DivergenceError, match=r"step 12.*000007, 000009"):
        train(tmp_path / "a.pt", broken_at)
    assert not (tmp_path / "a.pt").exists()


def test_a_gradient_that_is_not_finite_stops_too(tmp_path: Path) -> None:
    model = nn.Linear(1, 1)
    batch = Points(("000003",), torch.zeros(1, 1), torch.zeros(1, 1))

    def loss(network: nn.Module, points: Points) -> dict[str, Tensor]:
        return {"root": (network(points.inputs) * 0).sqrt().sum()}  # 0, with a derivative of 0 x infinity

    task = task_of(model, batches=lambda step, shard: batch, compute_loss=loss, steps=1, optimizer=descent(model))
    task = dataclasses.replace(task, max_gradient_norm=1.0)
    with pytest.raises(DivergenceError, match=r"gradient.*000003"):
        fit(task, PLAIN, TrainingRun(tmp_path / "a.pt"))


def test_an_error_in_a_batch_reaches_the_caller(tmp_path: Path) -> None:
    def broken_at(step: int, shard: BatchShard) -> Points:
        raise FormatError("image.png", "file", "half of it", "a PNG")

    with pytest.raises(FormatError, match=r"image\.png"):
        train(tmp_path / "a.pt", broken_at)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    with pytest.raises(FormatError, match=r"a\.pt: record: found steps=25, expected steps=26, .*overwrite=true"):
        train(tmp_path / "a.pt", steps=26)
    with pytest.raises(FormatError, match=r"found seed=0, expected seed=1"):
        train(tmp_path / "a.pt", seed=1)
    assert (tmp_path / "a.pt").read_bytes() == before
    model = nn.Linear(4, 1)
    with pytest.raises(FormatError, match="state_dict"):
        fit(task_of(model, record=record_of(steps=25, seed=0)), PLAIN, TrainingRun(tmp_path / "a.pt"))


def test_a_run_that_was_killed_is_not_continued_by_another_and_can_still_go_on(tmp_path: Path) -> None:
    def killed(step: int, shard: BatchShard) -> Points:
        if step == 17:
            raise KilledError
        return points_at(step, shard)

    _, undisturbed = train(tmp_path / "whole.pt")
    with pytest.raises(KilledError):
        train(tmp_path / "a.pt", killed)
    with pytest.raises(FormatError, match=r"a\.pt\.partial: record: found seed=0, expected seed=1"):
        train(tmp_path / "a.pt", seed=1)
    _, losses = train(tmp_path / "a.pt")
    assert losses == undisturbed
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()


def test_what_is_overwritten_stays_until_its_successor_is_finished(tmp_path: Path) -> None:
    def killed(step: int, shard: BatchShard) -> Points:
        if step == 17:
            raise KilledError
        return points_at(step, shard)

    train(tmp_path / "old.pt")
    train(tmp_path / "new.pt", seed=1)
    train(tmp_path / "a.pt")
    with pytest.raises(KilledError):
        train(tmp_path / "a.pt", killed, seed=1, overwrite=True)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "old.pt").read_bytes()
    # The same command again goes on, and a third time it has nothing to do.
    for _ in range(2):
        train(tmp_path / "a.pt", seed=1, overwrite=True)
        assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "new.pt").read_bytes()
    assert not partial_path(tmp_path / "a.pt").exists()


def test_names_that_differ_behind_a_dot_have_running_states_of_their_own(tmp_path: Path) -> None:
    assert partial_path(tmp_path / "u-lr0.001") != partial_path(tmp_path / "u-lr0.002")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "text", "object"])
def test_a_broken_checkpoint_is_named(tmp_path: Path, damage: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    save_checkpoint(path, {"state_dict": {"a": torch.zeros(100)}, "arguments": {}, "losses": [1.0]})
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "text":
        path.write_text("not a checkpoint")
    else:
        torch.save({"state_dict": {}, "arguments": Path("a"), "losses": []}, path)
    with pytest.raises(FormatError, match=r"a\.(pt|safetensors): "):
        load_checkpoint(path)


def test_a_checkpoint_without_weights_is_named(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"arguments": {}, "losses": []})
    with pytest.raises(FormatError, match="state_dict"):
        load_checkpoint(tmp_path / "a.pt")


def test_a_gradient_whose_square_is_too_large_for_float32_does_not_stop_what_is_not_scaled(tmp_path: Path) -> None:
    model = nn.Linear(2, 1, bias=False)
    batch = Points(("000000",), torch.full((1, 2), 1e25), torch.zeros(1, 1))
    task = task_of(
        model,
        batches=lambda step, shard: batch,
        compute_loss=lambda network, points: {"sum": network(points.inputs).sum()},
        steps=1,
    )
    fit(task, PLAIN, TrainingRun(tmp_path / "a.pt"))
    assert model.weight.isfinite().all()
    assert read_metrics(metrics_path(tmp_path / "a.pt"))["gradient_norm"] == [math.inf]
