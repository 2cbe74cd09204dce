"""Stages: nothing finished is made twice, what changed is made again with what hangs on it, kills lose nothing."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from pseudolidar.study.artifacts import ArtifactStore, Stage


def counting_stage(
    log: Path, name: str, settings: dict[str, object], parents: tuple[Stage, ...] = (), version: int = 1
) -> Stage:
    """A stage that leaves a file and a line in `log` each time it is made."""

    def make(folder: Path) -> None:
        (folder / "content.txt").write_text(f"{name} {settings}")
        with log.open("a") as lines:
            lines.write(f"{name}\n")

    return Stage(name, settings, version, make, parents)


def diamond(log: Path, u_rate: float = 0.1, w_steps: int = 5, w_version: int = 1) -> dict[str, Stage]:
    """Data -> u -> (v, w), and z beside u."""
    data = counting_stage(log, "data", {"seed": 0})
    u = counting_stage(log, "u", {"rate": u_rate}, (data,))
    z = counting_stage(log, "z", {}, (data,))
    v = counting_stage(log, "v", {}, (u, data))
    w = counting_stage(log, "w", {"steps": w_steps}, (u,), w_version)
    return {"data": data, "u": u, "z": z, "v": v, "w": w}


def made(store: ArtifactStore, stages: dict[str, Stage]) -> list[str]:
    return [stage.name for stage in store.run(list(stages.values()))]


def test_a_finished_stage_is_not_made_again(tmp_path: Path) -> None:
    store, log = ArtifactStore(tmp_path / "store"), tmp_path / "log"
    assert made(store, diamond(log)) == ["data", "u", "z", "v", "w"]
    assert made(store, diamond(log)) == []
    assert log.read_text().split() == ["data", "u", "z", "v", "w"]


def test_a_change_remakes_the_stage_and_what_hangs_on_it_alone(tmp_path: Path) -> None:
    store, log = ArtifactStore(tmp_path / "store"), tmp_path / "log"
    made(store, diamond(log))
    assert made(store, diamond(log, w_steps=6)) == ["w"]
    assert made(store, diamond(log, w_version=2)) == ["w"]
    assert made(store, diamond(log, u_rate=0.2)) == ["u", "v", "w"]
    assert made(store, diamond(log)) == [], "the first variant is still there"


def test_parents_are_made_though_only_the_child_is_asked_for(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    assert [stage.name for stage in store.run([diamond(tmp_path / "log")["w"]])] == ["data", "u", "w"]


def test_a_failed_stage_is_not_finished(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    fails = [True]

    def make(folder: Path) -> None:
        if fails[0]:
            raise OSError("disk full")

    stage = Stage("stage", {}, 1, make)
    with pytest.raises(OSError, match="disk full"):
        store.run([stage])
    assert not store.is_finished(stage)
    fails[0] = False
    assert store.run([stage]) == [stage]
    assert store.is_finished(stage)
    assert store.seconds(stage) < 5


def test_names_that_would_leave_the_store_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\.\./other"):
        Stage("../other", {}, 1, lambda folder: None)


def slow_chain(log: Path, links: int = 5) -> list[Stage]:
    """Stages that take 20 ms each and write one line a time, so that a kill finds them half done."""
    stages: list[Stage] = []
    for number in range(links):

        def make(folder: Path, number: int = number) -> None:
            for part in range(4):
                time.sleep(0.005)
                (folder / f"{part}.txt").write_text(f"{number} {part}")

        stages.append(Stage(f"link-{number}", {"n": number}, 1, make, tuple(stages[-1:])))
    return stages


def run_slow_chain(root: Path) -> None:
    ArtifactStore(root).run(slow_chain(root))


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.glob("*/[0-9].txt"))}


def test_killed_anywhere_it_ends_like_an_undisturbed_run(tmp_path: Path) -> None:
    run_slow_chain(tmp_path / "undisturbed")
    context = multiprocessing.get_context("fork")
    for attempt in range(6):
        process = context.Process(target=run_slow_chain, args=(tmp_path / "killed",))
        process.start()
        time.sleep(0.01 + 0.02 * attempt)
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    run_slow_chain(tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")
    assert len(contents(tmp_path / "killed")) == 20


def test_two_runs_in_one_store_do_not_mix(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    inner: list[str] = []

    def make(folder: Path) -> None:
        with pytest.raises(BlockingIOError, match="another run"):
            ArtifactStore(tmp_path).run([Stage("inner", {}, 1, lambda folder: inner.append("made"))])

    store.run([Stage("outer", {}, 1, make)])
    assert inner == []
