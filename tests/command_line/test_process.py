"""A command's process: what it sets, what `import pseudolidar` leaves alone, how it ends."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import pseudolidar
from pseudolidar.command_line import clear_errors, prepare_process
from pseudolidar.files import InputError

ROOT = Path(pseudolidar.__file__).parents[1]


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """The loggers as they were."""
    root, ours = logging.getLogger(), logging.getLogger("pseudolidar")
    before = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


def test_import_changes_nothing() -> None:
    # Every room, since each might set something when it is imported.
    program = """
import os, warnings, cv2, torch, numpy
def state():
    return (dict(os.environ), cv2.getNumThreads(), cv2.useOptimized(), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.get_default_dtype(), torch.backends.cudnn.benchmark, numpy.geterr(), numpy.get_printoptions())
import scipy.sparse, scipy.special
import hydra, numba, matplotlib, ray, loky, lightning_fabric  # what they do is theirs
before = state(), list(warnings.filters)
import pkgutil, importlib, pseudolidar
rooms = [room.name for room in pkgutil.iter_modules(pseudolidar.__path__)]
for room in rooms:
    importlib.import_module("pseudolidar." + room)
after = state(), list(warnings.filters)
assert len(rooms) > 10 and before[0] == after[0], (before, after)
assert before[1] == after[1], set(map(str, after[1])) ^ set(map(str, before[1]))
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=120)


def test_a_command_sets_what_the_user_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.delenv("THP_MEM_ALLOC_ENABLE", raising=False)
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE" and os.environ["THP_MEM_ALLOC_ENABLE"] == "1"


def test_it_is_set_before_pytorch_is_imported() -> None:
    program = "import sys, pseudolidar.command_line; assert not {'torch', 'cv2', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def _ended(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    with pytest.raises(SystemExit) as end, clear_errors():
        raise error
    return end.value.code, capsys.readouterr().err


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSEUDOLIDAR_TRACEBACK", raising=False)
    assert _ended(InputError("workers: found 0"), capsys) == (2, "error: workers: found 0\n")
    monkeypatch.setenv("PSEUDOLIDAR_TRACEBACK", "1")
    status, said = _ended(InputError("workers: found 0"), capsys)
    assert status == 2 and said.startswith("Traceback") and said.endswith("\nerror: workers: found 0\n")


def test_what_the_system_refuses_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end, clear_errors():
        tmp_path.read_bytes()
    assert end.value.code == 2 and capsys.readouterr().err == f"error: {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("error", [ValueError("shapes"), MemoryError(), KeyError("x"), RuntimeError("out of memory"),
                                   OSError("the image could not be written"), FloatingPointError("x")])  # fmt: skip
def test_a_fault_of_the_program_keeps_its_traceback(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["python", "scripts/view.py", "data=a b"])
    status, said = _ended(error, capsys)
    assert status == 1 and said.startswith("Traceback") and type(error).__name__ in said
    line = said.splitlines()[-1]
    assert "a fault of the program" in line and line.endswith("python scripts/view.py 'data=a b'")
    assert f"pseudolidar {pseudolidar.__version__}, Python 3." in line and f"PyTorch {version('torch')}" in line


def test_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    assert _ended(KeyboardInterrupt(), capsys) == (130, "stopped; the same command goes on from here\n")


def test_a_closed_pipe_is_no_fault() -> None:
    program = (
        "from pseudolidar.command_line import clear_errors\nwith clear_errors():\n    while True: print('x' * 999)"
    )
    command = f'{sys.executable} -c "{program}" | head -1'
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("xxx") and done.stderr == ""
