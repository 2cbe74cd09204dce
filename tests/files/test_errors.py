"""A user's mistake is an exception of the package's own, and crosses to other processes as what it is."""

import ast
import os
import pickle
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import pseudolidar
from pseudolidar.files import (
    DivergenceError,
    FileError,
    FormatError,
    InputError,
    UserError,
    WorkerError,
    read_npy,
    read_npz,
    require_file,
)
from pseudolidar.training.checkpoints import load_plain

_PACKAGE = Path(pseudolidar.__file__).parent
# Where an error of any kind is reported rather than raised again: a failed stage, while others go on; a command's end;
# a worker's task, or the making of a batch, whose error its parent raises; a program that shows curves.
_BROAD = {
    "systems/runner.py": 2, "command_line/process.py": 1, "files/processes.py": 1, "training/batches.py": 1,
    "training/metrics.py": 1,
}  # fmt: skip


@pytest.mark.parametrize(
    "error",
    [
        InputError("workers: found 0, expected 1 or more"),
        FormatError("a.txt", "line 3", "a wall", "a way"),
        FileError("a.txt: Permission denied"),
        DivergenceError("step 12: the loss is nan"),
        WorkerError("frames 000007: died"),
    ],
)
def test_errors_come_out_of_another_process_as_they_were(error: UserError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error) and str(copy) == str(error)


def test_broad_excepts_raise_again() -> None:
    found: dict[str, int] = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            is_broad = node.type is None or re.search(r"\b(Base)?Exception\b", ast.unparse(node.type))
            if is_broad and not isinstance(node.body[-1], ast.Raise):
                name = path.relative_to(_PACKAGE).as_posix()
                found[name] = found.get(name, 0) + 1
    assert found == _BROAD


@pytest.mark.parametrize("kind", [".npy", ".npz", ".pt"])
def test_damaged_files_are_format_errors(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"points{kind}"
    points = np.arange(40, dtype=np.float32)
    if kind == ".npy":
        np.save(path, points)
    elif kind == ".npz":
        np.savez_compressed(path, points=points)
    else:
        torch.save({"points": torch.from_numpy(points)}, path, _use_new_zipfile_serialization=False)
    whole, dice = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole[: dice.randrange(1, len(whole))] if dice.random() < 0.3 else whole)
        for _ in range(dice.randint(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            if kind == ".npy":
                read_npy(path, "points")
            elif kind == ".npz":
                read_npz(path, ("points",), "points")
            else:
                load_plain(path, "points")
        except FormatError as error:
            assert str(error).startswith(f"{path}: ") and "weights_only" not in str(error)
            refused += 1
    assert refused > 100


def test_a_lack_of_memory_is_no_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weights": torch.zeros(3)}, path)

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(MemoryError):
        load_plain(path, "a model")


@pytest.mark.parametrize("legacy", [".tar", "TorchScript"])
def test_no_advice_of_pytorch_to_read_unsafely(legacy: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    if legacy == ".tar":
        import tarfile

        with tarfile.open(path, "w") as tar:
            for name in ("sys_info", "storages", "tensors", "pickle"):
                (tmp_path / name).write_bytes(b"")
                tar.add(tmp_path / name, name)
    else:
        torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(FormatError, match=r"model\.pt: .*expected weights") as refused:
        load_plain(path, "weights")
    assert not re.search("weights_only|PyTorch 2", str(refused.value))


def test_arrays_of_objects_are_refused_without_advice(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object))
    with pytest.raises(FormatError, match=r"no readable \.npy \(pickled objects\)"):
        read_npy(tmp_path / "a.npy", "points")


def test_what_the_system_refuses_names_file_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "locked.txt"
    path.touch(mode=0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(FileError, match=r"locked\.txt: Permission denied"):
        require_file(path, "labels")
    with pytest.raises(FormatError, match=r"found no regular file"):
        require_file(tmp_path, "labels")
