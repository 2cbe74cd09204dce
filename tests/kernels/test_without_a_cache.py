"""Kernels where nothing can be written: a read-only package, no home."""

import os
import subprocess
import sys
from pathlib import Path

import pseudolidar

PROGRAM = """
import logging
logging.basicConfig(level=logging.INFO, format="%(message)s")
from pseudolidar.kernels import cpu_kernel

@cpu_kernel
def total(a, b):
    return a + b

@cpu_kernel
def difference(a, b):
    return a - b

print(total(2, 1), difference(2, 1))
"""


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "kernels.py").write_text(PROGRAM)
    inherited = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    root = str(Path(pseudolidar.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-B", str(folder / "kernels.py")],
        env=inherited | {"PYTHONPATH": root} | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_kernels_are_compiled_all_the_same(tmp_path: Path) -> None:
    # A file where a folder would have to be: not even root can write there.
    nowhere = tmp_path / "__pycache__"
    nowhere.touch()
    done = run(tmp_path, HOME=str(nowhere), XDG_CACHE_HOME=str(nowhere))
    assert done.returncode == 0 and done.stdout == "3 1\n", done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("kernels: compiled anew by every process") and "NUMBA_CACHE_DIR=DIR" in line


def test_the_users_folder_is_taken(tmp_path: Path) -> None:
    nowhere = tmp_path / "__pycache__"
    nowhere.touch()
    done = run(tmp_path, HOME=str(nowhere), NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 1\n", "")
    assert list((tmp_path / "cache").rglob("*.nbi"))
