"""A multirun of a training as jobs of Slurm's; commands of Slurm's that run each job at once stand in for a cluster."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stereo.conftest import write_scene

ROOT = Path(__file__).parents[2]

# Starts the array's tasks and doesn't wait for them, as a cluster does, with what Slurm tells a job of itself.
SBATCH = """#!/usr/bin/env bash
set -eu
export SLURM_ARRAY_JOB_ID=7 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1
export SLURM_JOB_NODELIST=node1
for task in 0 1; do
    (SLURM_JOB_ID=$((8 + task)) SLURM_ARRAY_TASK_ID=$task bash "$1" || touch "$0.failed") &>/dev/null &
done
echo "Submitted batch job 7"
"""
SRUN = """#!/usr/bin/env bash
while [[ "$1" == -* ]]; do
    case "$1" in --output|--error) shift 2 ;; *) shift ;; esac
done
exec "$@"
"""
SACCT = """#!/usr/bin/env bash
state=RUNNING
[ ! -e "$(dirname "$0")/sbatch.failed" ] || state=FAILED
printf "JobID|State|NodeList\\n7_0|$state|node1\\n7_1|$state|node1\\n"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    commands = tmp_path / "slurm"
    commands.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return {**os.environ, "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}


def test_a_multirun_becomes_an_array_of_jobs(tmp_path: Path, environment: dict[str, str]) -> None:
    write_scene(tmp_path / "scene", 2)
    tiny = ["training.steps=1", "training.crop=[32,64]", "training.pool_sizes=[8,4]", "training.precision=float32"]
    settings = ["data=scene", "seed=0,1", "output=models/u-${seed}.pt", *tiny]
    launcher = ["+launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.setup=[umask 022]"]
    command = [sys.executable, str(ROOT / "scripts" / "train_stereo.py"), "-m", *launcher, *settings]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    models = [(tmp_path / "models" / f"u-{seed}.pt").read_bytes() for seed in (0, 1)]
    assert models[0] != models[1]
    (submission,) = (tmp_path / "outputs" / "slurm").glob("*/.submitit/7/7_submission.sh")
    lines = submission.read_text().splitlines()
    for line in (
        "#SBATCH --array=0-1%2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --gpus-per-node=1",
        "#SBATCH --mem=32GB",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=1440",
        "#SBATCH --job-name=train_stereo",
        "umask 022",
    ):
        assert line in lines, submission.read_text()
