"""A study on a Ray cluster of two nodes: the local bytes although a worker is killed, failures that stay apart."""

import io
import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pseudolidar.files import InputError
from pseudolidar.systems import ArtifactStore, Resources, RunResult, Stage, make_stages
from pseudolidar.systems.ray_runner import make_stages_on_ray, request
from pseudolidar.systems.runner import LOG_FILE
from tests.systems.ray_tasks import Doom, Walk


def diamond(seconds: float = 0.0) -> dict[str, Stage]:
    """Data, two models on it, one that stands on both."""
    data = Stage("data", Walk(0))
    u = Stage("u", Walk(1, steps=6, seconds=seconds), {"data": data})
    v = Stage("v", Walk(2), {"data": data}, Resources(cpus=4))
    return {"data": data, "u": u, "v": v, "w": Stage("w", Walk(3), {"u": u, "v": v})}


def failing() -> list[Stage]:
    """One with a user's mistake, one that kills its process, and one on each."""
    broken, doomed = Stage("broken", Walk(4, broken=True)), Stage("doomed", Doom())
    return [Stage("on-broken", Walk(5), {"it": broken}), Stage("on-doomed", Walk(6), {"it": doomed})]


@dataclass(frozen=True)
class Run:
    """What the cluster did with all of them while the process of u was killed at its third step."""

    store: ArtifactStore
    outcome: RunResult
    killed: Sequence[int]
    printed: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    store = ArtifactStore(tmp_path_factory.mktemp("cluster"))
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_the_worker_of, args=("u", store, killed, over))
    killer.start()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        wanted = [diamond(seconds=0.3)["w"], *failing()]
        with redirect_stdout(io.StringIO()) as printed:
            outcome = make_stages_on_ray(store, wanted, cluster.address, retries=1)
    finally:
        over.set()
        killer.join()
        cluster.shutdown()
    return Run(store, outcome, killed, printed.getvalue())


def kill_the_worker_of(name: str, store: ArtifactStore, killed: list[int], over: threading.Event) -> None:
    while not killed and not over.is_set():
        for path in (store.root / "processes").glob("[0-9]*.json"):
            at = json.loads(path.read_text())
            if at["folder"].startswith(f"{name}-") and at["step"] == 2:
                os.kill(int(path.stem), signal.SIGKILL)
                killed.append(int(path.stem))
        time.sleep(0.01)


def artifacts(store: ArtifactStore) -> dict[str, bytes]:
    return {str(path.relative_to(store.root)): path.read_bytes() for path in store.root.glob("*/*.npy")}


def names(stages: Sequence[Stage]) -> list[str]:
    return sorted(stage.name for stage in stages)


def test_a_killed_worker_changes_nothing_but_the_time(run: Run, tmp_path: Path) -> None:
    assert len(run.killed) == 1
    assert run.printed == "", "standard output is the caller's"
    assert names(run.outcome.made) == ["data", "u", "v", "w"]
    local = ArtifactStore(tmp_path)
    make_stages(local, [diamond()["w"]])
    assert artifacts(run.store) == artifacts(local) != {}
    log = (run.store.folder(diamond()["u"]) / LOG_FILE).read_text()
    assert log.count(f"walking in {os.getcwd()}") == 2, "it was begun twice, in the directory of the study"
    processes = {path.stem for path in (run.store.root / "processes").iterdir()}
    assert len(processes) >= 2 and str(os.getpid()) not in processes


def test_a_stage_that_fails_stops_only_what_stands_on_it(run: Run) -> None:
    assert names(run.outcome.skipped) == ["on-broken", "on-doomed"]
    broken, doomed = sorted(run.outcome.failed, key=lambda failure: failure.stage.name)
    assert "map: line 1: found a wall, expected a way" in broken.message
    log = (run.store.folder(broken.stage) / LOG_FILE).read_text()
    assert log.count("walking") == 1, "a user's mistake is not tried again"
    assert doomed.stage.name == "doomed" and doomed.message.startswith("its process died 2 times")


def test_with_nothing_to_do_no_cluster_is_needed(run: Run) -> None:
    outcome = make_stages_on_ray(run.store, [diamond()["w"]], "nowhere:1")
    assert not outcome.made and not outcome.missing
    assert not ray.is_initialized(), "the run has let go of its cluster"


def test_what_is_asked_for_fits_on_one_node() -> None:
    nodes = [
        {"Alive": True, "Resources": {"CPU": 16.0}},
        {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 2.0}},
        {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    ]
    assert request(Resources(), nodes) == (1, 0)
    assert request(Resources(cpus=32), nodes) == (16, 0)
    assert request(Resources(cpus=8, gpus=0.5), nodes) == (4, 0.5)
    assert request(Resources(cpus=2, gpus=8), nodes) == (2, 2)
    assert request(Resources(cpus=2, gpus=1), nodes[:1]) == (2, 0)


def test_a_cluster_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"address: found nobody at 127\.0\.0\.1:1"):
        make_stages_on_ray(ArtifactStore(tmp_path), failing(), "127.0.0.1:1")


def test_retries_below_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="retries: found -1"):
        make_stages_on_ray(ArtifactStore(tmp_path), [], retries=-1)
