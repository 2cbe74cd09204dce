"""A training's numbers: files that survive a full disk and a kill, loggers that change nothing in the training."""

import dataclasses
import functools
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from typing_extensions import override

from pseudolidar.files import FormatError, InputError
from pseudolidar.training import (
    BatchShard,
    CsvLogger,
    Logger,
    TensorBoardLogger,
    TrainingRun,
    WandbLogger,
    fit,
    metrics_path,
    read_metrics,
    validation_path,
)
from pseudolidar.training.metrics import Curves, Metrics, MetricsFile
from tests.files.test_full_disk import largest_file
from tests.forked import forking
from tests.training.plain import PLAIN
from tests.training.test_fit import Points, network, points_at, task_of

NO_TENSORBOARD = pytest.mark.skipif(find_spec("tensorboard") is None, reason="TensorBoard is not installed")
NO_WANDB = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")


def add(file: MetricsFile, steps: range) -> None:
    for step in steps:
        file.add({"step": step, "loss": 1 / step, "waiting": 0.0})


def steps_of(path: Path) -> list[float]:
    return read_metrics(path)["step"]


def test_rows_are_read_as_they_were_added(tmp_path: Path) -> None:
    path = tmp_path / "new" / "m.csv"
    file = MetricsFile(path, 0)
    file.add({"step": 1, "loss": 1e-12, "term": math.nan})
    file.add({"step": 2, "loss": 123456.7, "term": math.inf})
    file.add({"step": 3, "loss": -0.5})
    assert not path.exists()
    file.write()
    columns = read_metrics(path)
    assert list(columns) == ["step", "loss", "term"]
    assert columns["step"] == [1, 2, 3] and columns["loss"] == [1e-12, 123456.7, -0.5]
    assert math.isnan(columns["term"][0]) and columns["term"][1] == math.inf and math.isnan(columns["term"][2])


def test_a_run_that_goes_on_cuts_off_what_it_does_again(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    file = MetricsFile(path, 0)
    add(file, range(1, 11))
    file.write()
    with path.open("a") as torn:
        torn.write("11,0.0")
    assert steps_of(path) == list(range(1, 11))
    again = MetricsFile(path, 6)
    add(again, range(7, 9))
    again.write()
    assert steps_of(path) == list(range(1, 9))
    MetricsFile(path, 0)
    assert not path.exists()


@pytest.mark.parametrize("there", [b"", b"step,loss", b"\x89PNG\n\0\0\n"])
def test_a_broken_file_begins_anew(tmp_path: Path, there: bytes) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(there)
    file = MetricsFile(path, 6)
    add(file, range(7, 9))
    file.write()
    assert steps_of(path) == [7, 8]


def test_a_file_that_somebody_takes_away_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    file = MetricsFile(path, 0)
    for steps in (range(1, 4), range(4, 6)):
        add(file, steps)
        file.write()
    path.unlink()
    add(file, range(6, 8))
    file.write()
    assert steps_of(path) == [6, 7]


@pytest.mark.parametrize("first", [0, 5])
def test_a_full_disk_is_said_once_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first: int
) -> None:
    path = tmp_path / "m.csv"
    file = MetricsFile(path, 0)
    add(file, range(1, first + 1))
    file.write()
    room = path.stat().st_size if first else 0
    with caplog.at_level(logging.WARNING), largest_file(room + 7):
        for step in range(first + 1, 30):
            add(file, range(step, step + 1))
            file.write()
    assert [record.message for record in caplog.records] == [
        f"{path}: File too large; the training goes on, its curves are kept in memory"
    ]
    if first:
        assert steps_of(path) == [1, 2, 3, 4, 5]
    file.write()
    assert steps_of(path) == list(range(1, 30))


def write_for_ever(path: Path) -> None:
    file = MetricsFile(path, 0)
    for step in range(1, sys.maxsize):
        add(file, range(step, step + 1))
        file.write()


def test_a_kill_leaves_whole_rows_to_go_on_from(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    process = forking().Process(target=write_for_ever, args=(path,))
    process.start()
    while not path.exists() or path.stat().st_size < 10_000:
        assert process.is_alive()
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = steps_of(path)
    assert left == list(range(1, len(left) + 1)) and len(left) > 300
    file = MetricsFile(path, 300)
    add(file, range(301, 311))
    file.write()
    assert steps_of(path) == list(range(1, 311))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "file: found nothing there"),
        ("", "line 1: found ''"),
        ("step,loss\n", "line 1: found no row"),
        ("step,loss\n1,0.", "line 1: found no row"),
        ("loss,step\n1,2\n", "line 1: found 'loss,step'"),
        ("step,loss\n1,0.5\n2,x\n", "line 3: found '2,x', expected 2 numbers"),
        ("step,loss\n1,0.5\n2\n3,0.5\n", "line 3: found 1 numbers, expected 2, as in line 1"),
        ("step,loss\n1,0.5\n\0\0\n", "line 3: found"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "m.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FormatError) as caught:
        read_metrics(path)
    assert str(caught.value).startswith(f"{path}: {message}")


class Listener(Logger):
    """A logger of somebody's own, which fails at a step."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.heard: list[tuple[int, list[str]]] = []
        self.fails_at = fails_at
        self.is_closed = False

    @override
    @contextmanager
    def opened(self, checkpoint: Path, steps: int) -> Iterator[Callable[[int, Metrics], None]]:
        yield self.hear
        self.is_closed = True

    def hear(self, step: int, metrics: Metrics) -> None:
        if step == self.fails_at:
            raise ConnectionError("nobody there")
        self.heard.append((step, list(metrics)))


def test_curves_reach_files_logger_and_progress_bar(tmp_path: Path) -> None:
    checkpoint, listener = tmp_path / "a.pt", Listener()
    numbers = {"loss": 2.0, "items_per_s": 8.0, "waiting": 0.5}
    with Curves.opened(listener, checkpoint, 0) as curves:
        assert curves.add(1, numbers) == "loss 2.0000, 8/s, 50% waiting for data"
        assert curves.add(2, {**numbers, "loss": 1.0, "waiting": -0.5}) == "loss 1.5000, 8/s"
        curves.add_validation(2, {"mae": 0.25})
        assert read_metrics(validation_path(checkpoint)) == {"step": [2], "mae": [0.25]}
        assert not metrics_path(checkpoint).exists()
    assert read_metrics(metrics_path(checkpoint))["loss"] == [2, 1]
    assert listener.heard == [(1, list(numbers)), (2, list(numbers)), (2, ["validation/mae"])]
    with Curves.opened(listener, checkpoint, 0):
        assert not validation_path(checkpoint).exists(), "a new training has none yet"


def test_a_logger_that_fails_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(fails_at=2)
    with caplog.at_level(logging.WARNING), Curves.opened(listener, tmp_path / "a.pt", 0) as curves:
        for step in (1, 2, 3):
            curves.add(step, {"loss": 2.0, "items_per_s": 8.0, "waiting": 0.0})
    assert [record.message for record in caplog.records] == [
        "logger: nobody there at step 2; the training goes on without it"
    ]
    assert [step for step, _ in listener.heard] == [1] and listener.is_closed
    assert steps_of(metrics_path(tmp_path / "a.pt")) == [1, 2, 3]


def trained(checkpoint: Path, make_logger: Callable[[], Logger], killed_at: int | None = None) -> None:
    """Train 25 steps, with a state to go on from every 10."""

    def batches(step: int, shard: BatchShard) -> Points:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return points_at(step, shard)

    settings = dataclasses.replace(PLAIN, checkpoint_every=10)
    fit(task_of(network(), batches=batches), settings, TrainingRun(checkpoint, logger=make_logger()))


LOGGERS: dict[str, Callable[[], Logger]] = {
    "csv": CsvLogger,
    "one that fails": functools.partial(Listener, fails_at=13),
    "tensorboard": functools.partial(TensorBoardLogger, None),
    "wandb": functools.partial(WandbLogger, "tests", "offline"),
}


@pytest.mark.parametrize(
    "name",
    ["csv", "one that fails", pytest.param("tensorboard", marks=NO_TENSORBOARD), pytest.param("wandb", marks=NO_WANDB)],
)
def test_whoever_logs_the_checkpoint_is_the_same(tmp_path: Path, name: str) -> None:
    whole, logged = tmp_path / "whole" / "a.pt", tmp_path / "logged" / "a.pt"
    trained(whole, CsvLogger)
    for killed_at, status in ((17, -signal.SIGKILL), (None, 0)):
        process = forking().Process(target=trained, args=(logged, LOGGERS[name], killed_at))
        process.start()
        process.join()
        assert process.exitcode == status
    assert logged.read_bytes() == whole.read_bytes()
    columns = read_metrics(metrics_path(logged))
    assert columns["step"] == list(range(1, 26))
    assert columns["loss"] == read_metrics(metrics_path(whole))["loss"]
    if name == "tensorboard":
        assert logged_scalars(logged.parent / "tensorboard" / logged.name) == {
            tag: list(zip(columns["step"], map(pytest.approx, values), strict=True))
            for tag, values in columns.items()
            if tag != "step"
        }
    if name == "wandb":
        assert len(list((logged.parent / "wandb").glob("offline-run-*"))) == 2
        content = next((logged.parent / "wandb" / "latest-run").glob("*.wandb")).read_bytes()
        assert content.count(b"_step") >= 25, "the last folder has every row, with its step"


def logged_scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows of its event files: step and value by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@NO_TENSORBOARD
def test_another_training_in_the_same_place_hides_the_first_in_tensorboard(tmp_path: Path) -> None:
    for steps, loss in ((5, 2.0), (3, 1.0)):
        with TensorBoardLogger(tmp_path).opened(Path("a.pt"), 0) as log:
            for step in range(1, steps + 1):
                log(step, {"loss": loss})
    assert logged_scalars(tmp_path / "a.pt") == {"loss": [(1, 1.0), (2, 1.0), (3, 1.0)]}


@NO_TENSORBOARD
# Its thread dies.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_disk_too_full_for_tensorboard_does_not_end_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "a.pt"
    with largest_file(3_000), Curves.opened(TensorBoardLogger(None), checkpoint, 0) as curves:
        for step in range(1, 60):
            curves.add(step, {"loss": 2.0, "items_per_s": 8.0, "waiting": 0.0})
    (said,) = [record.message for record in caplog.records]
    assert "File too large" in said and said.endswith("the training goes on without it")
    assert steps_of(metrics_path(checkpoint)) == list(range(1, 60))


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_logger_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as caught:
        LOGGERS[name]()
    expected = f"it installed (pip install {name}), or logger=csv"
    assert str(caught.value) == f"logger: found no {name}, expected {expected}"


@pytest.mark.skipif(find_spec("wandb") is not None, reason="wandb is installed")
def test_a_folder_of_its_name_is_not_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="found no wandb"):
        WandbLogger("tests", "offline")
