"""Stages: nothing finished is made twice, what changed is made again with what hangs on it, kills lose nothing."""

import contextlib
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pseudolidar.systems import ArtifactStore, Resources, Stage, make_stages
from tests.systems.small_tasks import Bystander, Counted, Dies, DiesBeside, FailsUntil, Mistaken, diamond, slow_chain


def made(store: ArtifactStore, stages: dict[str, Stage], workers: int = 1) -> list[str]:
    return [stage.name for stage in make_stages(store, list(stages.values()), workers).made]


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
    outcome = make_stages(store, [diamond(tmp_path / "log")["w"]])
    assert [stage.name for stage in outcome.made] == ["data", "u", "w"]
    content = (store.folder(outcome.made[-1]) / "content.txt").read_text()
    assert content == "w {'steps': 5} after ['u']", "a task is given its parents by their roles"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failed_stage_stops_only_what_stands_on_it(tmp_path: Path, workers: int) -> None:
    store, log = ArtifactStore(tmp_path / "store"), tmp_path / "log"
    stages = diamond(log)
    bad = Stage("bad", FailsUntil(log, "bad"), {"data": stages["data"]})
    on_it = Stage("on-it", Counted(log, "on-it"), {"bad": bad, "u": stages["u"]})
    far = Stage("far", Counted(log, "far"), {"on-it": on_it})
    outcome = make_stages(store, [far, *stages.values()], workers)
    assert {stage.name for stage in outcome.made} == {"data", "u", "z", "v", "w"}
    assert [(failure.stage.name, failure.message) for failure in outcome.failed] == [("bad", "disk full")]
    assert [stage.name for stage in outcome.skipped] == ["on-it", "far"]
    assert not store.is_finished(bad)
    (tmp_path / "mended").touch()
    again = make_stages(store, [far], workers)
    assert [stage.name for stage in again.made] == ["bad", "on-it", "far"]
    assert store.seconds(bad) < 5


def test_several_processes_make_what_one_makes(tmp_path: Path) -> None:
    one, several = ArtifactStore(tmp_path / "one"), ArtifactStore(tmp_path / "several")
    made(one, diamond(tmp_path / "log"))
    names = made(several, diamond(tmp_path / "log"), workers=2)
    assert sorted(names) == ["data", "u", "v", "w", "z"]
    assert (names[0], names.index("u") < names.index("v")) == ("data", True)
    for stage in diamond(tmp_path / "log").values():
        contents = [(store.folder(stage) / "content.txt").read_text() for store in (one, several)]
        assert contents[0] == contents[1]


def test_a_mistake_in_one_stage_does_not_end_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store, log = ArtifactStore(tmp_path / "store"), tmp_path / "log"
    outcome = make_stages(store, [Stage("bad", Mistaken(log, "bad")), Stage("good", Counted(log, "good"))])
    assert [stage.name for stage in outcome.made] == ["good"]
    assert [failure.message for failure in outcome.failed] == ["RuntimeError: out of memory"]
    assert "Traceback" in capfd.readouterr().err, "for whoever mends it"


def test_a_worker_that_dies_is_replaced_and_its_stage_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store, log = ArtifactStore(tmp_path / "store"), tmp_path / "log"
    once = Stage("once", DiesBeside(log, "once", {}, times=1))
    always = Stage("always", Dies(log, "always", {}, times=99))
    outcome = make_stages(store, [once, Stage("bystander", Bystander(log, "bystander"))], workers=2)
    assert sorted(stage.name for stage in outcome.made) == ["bystander", "once"]
    assert sorted(log.read_text().split()) == ["bystander", "once"], "the other worker's stage isn't begun again"
    lines = capfd.readouterr().err
    assert "once: its process died; it goes on in another" in lines
    assert re.search(r"\[1/2\] (once|bystander): \d+ s\n", lines), "a line a stage, where there is no terminal"
    outcome = make_stages(store, [always], workers=2)
    assert [failure.stage.name for failure in outcome.failed] == ["always"]
    assert "died 4 times" in outcome.failed[0].message


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from pseudolidar.command_line import clear_errors
from pseudolidar.systems import ArtifactStore, Stage, make_stages
from tests.systems.small_tasks import Counted, Waits

# What starts in the background of a shell ignores the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)
log = Path(sys.argv[1])
with clear_errors():
    stages = [Stage("short", Counted(log, "short")), Stage("long", Waits(log, "long"))]
    make_stages(ArtifactStore(log.parent / "store"), stages, workers=2)
"""


def test_an_interrupt_ends_all_processes_in_one_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    # A session of its own, so that the signal reaches what a terminal's would: every process, those that import too.
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(log)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    # One process is at work, the other has nothing to do.
    while not (list(tmp_path.glob("store/short-*/stage.json")) and "long" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGINT)
    _, printed = run.communicate(timeout=20)
    assert run.returncode == 130
    assert "Traceback" not in printed
    assert printed.splitlines()[-1] == "stopped; the same command goes on from here"
    # Python's own helper ends a little later than the program.
    while living(run.pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def living(session: int) -> list[str]:
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = path.read_text().rsplit(")", 1)[1].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(path.parent.name)
    return found


def test_a_stage_that_asks_for_more_than_there_is_runs_alone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    wide = Stage("wide", Counted(log, "wide"), resources=Resources(cpus=64, gpus=1.0))
    narrow = Stage("narrow", Counted(log, "narrow"))
    outcome = make_stages(ArtifactStore(tmp_path / "store"), [wide, narrow], workers=2)
    assert {stage.name for stage in outcome.made} == {"wide", "narrow"}


def test_fingerprints_know_what_determines_the_content_and_nothing_else(tmp_path: Path) -> None:
    data, other = (Stage("data", Counted(tmp_path, "data", {"seed": seed})) for seed in (0, 1))
    plain = Stage("v", Counted(tmp_path, "v"), {"data": data})
    assert Stage("v", Counted(tmp_path, "v"), {"data": data}, Resources(8), "a title").fingerprint == plain.fingerprint
    changed = [
        Stage("v", Counted(tmp_path, "v", {"rate": 1}), {"data": data}),
        Stage("v", Counted(tmp_path, "v", {}, 2), {"data": data}),
        Stage("v", Counted(tmp_path, "v"), {"data": other}),
        Stage("v", Counted(tmp_path, "v"), {"cloud": data}),
        Stage("w", Counted(tmp_path, "v"), {"data": data}),
    ]
    assert len({stage.fingerprint for stage in [plain, *changed]}) == 6


def test_names_that_would_leave_the_store_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.\./other"):
        Stage("../other", Counted(tmp_path, "other"))


@pytest.mark.parametrize(("name", "value"), [("cpus", 0), ("gpus", -1.0)])
def test_less_than_nothing_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}: found {value}"):
        Resources(**{name: value})  # type: ignore[arg-type]


def test_no_worker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers: found 0"):
        make_stages(ArtifactStore(tmp_path), [], workers=0)


def run_slow_chain(root: Path) -> None:
    make_stages(ArtifactStore(root), slow_chain())


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


def test_two_runs_in_one_store_share_the_work(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    stages, log = diamond(tmp_path / "log"), tmp_path / "log"
    processes = [
        context.Process(target=make_stages, args=(ArtifactStore(tmp_path / "store"), list(stages.values())))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert sorted(log.read_text().split()) == ["data", "u", "v", "w", "z"], "each stage once, by whichever came first"
