"""The command under torchrun: a killed process ends the run, and the same command goes on to the same bytes."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.stereo.conftest import write_scene
from tests.training.several_processes import SeveralProcesses

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = str(ROOT / "scripts" / "train_stereo.py")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# Slow enough to be caught between the first checkpoint and the end.
SETTINGS = (
    "training.steps=20", "training.width=8", "training.pool_sizes=[4,2]",
    "training.hourglasses=1", "training.blocks=[1,1,1,1]", "training.max_disparity=16", "training.crop=[16,32]",
    "training.batch_size=2", "training.precision=float32", "training.checkpoint_every=2",
)  # fmt: skip
_LONGEST_RUN_S = 120

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in /proc")


def start(data: Path, output: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*TORCHRUN, SCRIPT, *SETTINGS, f"data={data}", f"output={output}"], cwd=output.parent, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def train(data: Path, output: Path) -> None:
    """The script, in a process that finds itself as torchrun would have started it."""
    torch.set_num_threads(1)
    sys.argv = [SCRIPT, *SETTINGS, f"data={data}", f"output={output}"]
    runpy.run_path(SCRIPT, run_name="__main__")


def process_of_rank(run: subprocess.Popen[str], rank: int) -> int:
    for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no process of rank {rank}")


def test_a_process_killed_in_mid_run(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", 4)
    with SeveralProcesses(2) as two:
        assert two(train, tmp_path / "scene", tmp_path / "whole.pt") == [None, None]
    broken = start(tmp_path / "scene", tmp_path / "broken.pt")
    try:
        deadline = time.monotonic() + _LONGEST_RUN_S
        while not (tmp_path / "broken.pt.partial").exists():
            assert time.monotonic() < deadline and broken.poll() is None
            time.sleep(0.01)
        os.kill(process_of_rank(broken, 1), signal.SIGKILL)
        _, err = broken.communicate(timeout=_LONGEST_RUN_S)
    finally:
        broken.kill()
    assert broken.returncode != 0 and "SIGKILL" in err
    assert (tmp_path / "broken.pt.partial").exists() and not (tmp_path / "broken.pt").exists()
    resumed = start(tmp_path / "scene", tmp_path / "broken.pt")
    out, err = resumed.communicate(timeout=_LONGEST_RUN_S)
    assert resumed.returncode == 0, err
    # Before it Gloo of PyTorch 2.9 prints its connections.
    assert out.splitlines()[-1] == f"model: {tmp_path / 'broken.pt'}"
    # One process alone speaks, however many lines a slow machine gives it time for.
    assert err.count("training broken: 20/20") == 1
    assert (tmp_path / "broken.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()
    assert not (tmp_path / "broken.pt.partial").exists()
