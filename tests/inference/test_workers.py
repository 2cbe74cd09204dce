"""Frames in worker processes: each once, whatever dies; mistakes in one line; shards that make up the whole."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pseudolidar.files import WorkerError, claimed
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.workers import gpu_of
from tests.inference.frame_jobs import Writing

ROOT = Path(__file__).parents[2]


def written(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir() if path.name.isdigit())


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_two_workers_do_every_frame_that_is_not_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Writing(tmp_path, 12, seconds=0.05)
    with claimed(tmp_path, job.made_of(), {job.names()[3]: ""}, job.outputs):
        (tmp_path / job.names()[3]).write_text("finished before")
    processes = run_job(job, workers=2)
    assert written(tmp_path) == job.names()
    assert (tmp_path / job.names()[3]).read_text() == "finished before"
    assert os.getpid() not in processes
    assert not any(is_running(process) for process in processes)
    assert "11/11" in capsys.readouterr().err, "one bar, of the frames that were missing"


def test_a_worker_that_dies_is_replaced_and_its_frames_are_done(tmp_path: Path) -> None:
    job = Writing(tmp_path, 9, deaths=2, deadly="000004")
    processes = run_job(job, workers=2)
    assert written(tmp_path) == job.names()
    assert len(list(tmp_path.glob("death-*"))) == 2
    assert len(set(processes)) > 1


def test_a_frame_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    job = Writing(tmp_path, 8, deaths=100, deadly="000007")
    with pytest.raises(WorkerError, match="frames 000007: found 3 workers that died, one after the other"):
        run_job(job, workers=2)
    assert len(list(tmp_path.glob("death-*"))) == 3
    assert written(tmp_path) == job.names()[:-1]


def test_a_broken_frame_ends_the_run_with_its_own_words(tmp_path: Path) -> None:
    job = Writing(tmp_path, 6, broken="000001")
    for workers in (1, 2):
        with pytest.raises(ValueError, match=r"000001: line 1: found nothing, expected a frame"):
            run_job(job, workers)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from pseudolidar.inference import run_job;"
        "from tests.inference.frame_jobs import Writing;"
        f"run_job(Writing(Path({str(tmp_path)!r}), 10000, seconds=0.02), 2)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not written(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    time.sleep(1.0)
    after = written(tmp_path)
    assert after
    time.sleep(0.5)
    assert written(tmp_path) == after, "nobody goes on writing"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(), max_size=30, unique=True), st.integers(1, 12))
def test_shards_make_up_the_whole_and_share_nothing(numbers: list[int], count: int) -> None:
    names = [str(number) for number in numbers]
    shards = [Shard.from_text(f"{number}/{count}").of(names) for number in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_a_shard_does_its_frames_alone_and_an_empty_one_none(tmp_path: Path) -> None:
    job = Writing(tmp_path, 5)
    run_job(job, shard=Shard(2, 3))
    assert written(tmp_path) == ["000001", "000004"]
    assert run_job(job, shard=Shard(7, 9)) == []


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "3/16x"])
def test_bad_shards_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="shard: found"):
        Shard.from_text(text)


def test_workers_take_turns_at_the_gpus_that_this_process_sees() -> None:
    assert [gpu_of(worker, 2, None) for worker in range(4)] == ["0", "1", "0", "1"]
    assert [gpu_of(worker, 2, "5,GPU-8f") for worker in range(3)] == ["5", "GPU-8f", "5"]
    with pytest.raises(ValueError, match="workers: found 0"):
        run_job(Writing(Path(), 1), workers=0)
