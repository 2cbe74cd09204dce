"""The command under torchrun: a killed process ends the run, and the same command goes on to the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stereo.conftest import write_scene

ROOT = Path(__file__).resolve().parents[2]
COMMAND = (
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    str(ROOT / "scripts" / "train_stereo.py"), "training.width=4", "training.pool_sizes=[4,2]",
    "training.hourglasses=1", "training.blocks=[1,1,1,1]", "training.max_disparity=16", "training.crop=[16,32]",
    "training.batch_size=2", "training.precision=float32", "training.checkpoint_every=2",
)  # fmt: skip
_LONGEST_RUN_S = 120

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes to kill in /proc")


def start(data: Path, output: Path, steps: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*COMMAND, f"training.steps={steps}", f"data={data}", f"output={output}"], cwd=output.parent,
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(run: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = run.communicate(timeout=_LONGEST_RUN_S)
    assert run.returncode == 0, err
    return out, err


def process_of_rank(run: subprocess.Popen[str], rank: int) -> int:
    for child in Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split():
        if f"\0RANK={rank}\0" in Path(f"/proc/{child}/environ").read_text():
            return int(child)
    raise AssertionError(f"no process of rank {rank}")


def test_a_process_killed_in_mid_run(tmp_path: Path) -> None:
    write_scene(tmp_path / "scene", 4)
    # Slow enough to be caught between the first checkpoint and the end.
    steps = 20
    out, err = finish(start(tmp_path / "scene", tmp_path / "whole.pt", steps))
    assert out == f"model: {tmp_path / 'whole.pt'}\n"
    assert err.count("training whole") == 1
    broken = start(tmp_path / "scene", tmp_path / "broken.pt", steps)
    try:
        deadline = time.monotonic() + _LONGEST_RUN_S
        while not (tmp_path / "broken.partial").exists():
            assert time.monotonic() < deadline and broken.poll() is None
            time.sleep(0.01)
        os.kill(process_of_rank(broken, 1), signal.SIGKILL)
        _, err = broken.communicate(timeout=_LONGEST_RUN_S)
    finally:
        broken.kill()
    assert broken.returncode != 0 and "SIGKILL" in err
    assert (tmp_path / "broken.partial").exists() and not (tmp_path / "broken.pt").exists()
    finish(start(tmp_path / "scene", tmp_path / "broken.pt", steps))
    assert (tmp_path / "broken.pt").read_bytes() == (tmp_path / "whole.pt").read_bytes()
    assert not (tmp_path / "broken.partial").exists()
