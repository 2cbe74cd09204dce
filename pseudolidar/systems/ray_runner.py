"""Make stages on a Ray cluster: each where its processors and cards are free, once its parents are finished."""

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, WorkerCrashedError
from rich.console import Console

from pseudolidar.files import InputError
from pseudolidar.systems.runner import MAX_DEATHS, RunResult, Schedule, make_logged
from pseudolidar.systems.stages import ArtifactStore, Resources, Stage

_PATIENCE_S = 10.0

# What ray.nodes() says of a machine.
Node = Mapping[str, Any]


def make_stages_on_ray(
    store: ArtifactStore, stages: Sequence[Stage], address: str | None = None, retries: int = MAX_DEATHS
) -> RunResult:
    """Make every stage that is not finished, parents first; the artifacts are those of `make_stages`, byte for byte.

    A stage is handed to Ray when its parents are finished: one that waits holds no resources. It goes to a node with
    enough free processors and cards; if no node has as many, it takes a whole node. Its output goes to `LOG_FILE` in
    its folder. When its process or its machine dies, it is continued in another, up to `retries` times; when it fails
    for a reason of its own, it isn't tried again, and the stages that depend on it are left out.

    The folder of `store`, and the data sets, have the same path on every node, on storage that they share. `address` is
    of a cluster that this machine belongs to: `auto`, or HOST:PORT; its nodes have the same environment as this
    process, the package included. None: a cluster of this machine alone, for this call. InputError if there is no such
    cluster, or for `retries` below 0.
    """
    if retries < 0:
        raise InputError(f"retries: found {retries}, expected 0 or more")
    store = ArtifactStore(store.root.resolve())
    schedule = Schedule(store, stages)
    if schedule.ready():
        # Ray's notices of workers that died would stand among the tables that a program prints.
        with redirect_stdout(sys.stderr), _connected(address):
            _run(store, schedule, retries)
    return schedule.result


def _run(store: ArtifactStore, schedule: Schedule, retries: int) -> None:
    make = ray.remote(_make_at_home)
    running: dict[Any, Stage] = {}

    def start(stage: Stage) -> bool:
        cpus, gpus = request(stage.resources, ray.nodes())
        task = make.options(num_cpus=cpus, num_gpus=gpus, max_retries=retries, name=str(stage))
        running[task.remote(store, stage, os.getcwd())] = stage
        return True

    def finished(console: Console) -> Iterator[tuple[Stage, str | None]]:
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        yield running.pop(done), _message(done, retries)

    try:
        schedule.run(start, finished)
    finally:
        # On Ctrl-C; else nothing is running any more.
        for reference in running:
            ray.cancel(reference, force=True)


def _make_at_home(store: ArtifactStore, stage: Stage, directory: str) -> str | None:
    # Settings may name files relative to the directory of the program that started the study.
    if Path(directory).is_dir():
        os.chdir(directory)
    return make_logged(store, stage)


def _message(reference: Any, retries: int) -> str | None:
    try:
        message: str | None = ray.get(reference)
    except (WorkerCrashedError, NodeDiedError, OutOfMemoryError):
        return f"its process died {retries + 1} times (killed from outside, out of memory, or with its machine)"
    except RayError as error:
        # A node that lacks the package, for instance; the first lines are Ray's own.
        return str(error).strip().splitlines()[-1]
    return message


def request(resources: Resources, nodes: Sequence[Node]) -> tuple[float, float]:
    """Processors and cards that Ray is asked for: a stage's, as far as one of `ray.nodes()` has as many."""
    living = [node["Resources"] for node in nodes if node["Alive"]]
    gpus = min(resources.gpus, max((node.get("GPU", 0.0) for node in living), default=0.0))
    # The stage computes with as many threads as it asks for either way, so that its bytes are the same.
    most = max((node.get("CPU", 0.0) for node in living if node.get("GPU", 0.0) >= gpus), default=0.0)
    return min(float(resources.cpus), most), gpus


def _require_cluster(address: str | None) -> None:
    place = re.fullmatch(r"([^:/]+):(\d+)", address or "")
    if place is None:
        return
    # Ray itself would try for minutes, and then end this process.
    try:
        socket.create_connection((place[1], int(place[2])), _PATIENCE_S).close()
    except OSError as error:
        raise InputError(f"address: found nobody at {address} ({error}), expected a Ray cluster") from error


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _require_cluster(address)
    # None would mean whatever cluster was started last on this machine.
    ray.init(
        "local" if address is None else address,
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()
