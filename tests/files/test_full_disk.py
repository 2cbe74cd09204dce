"""A disk that takes no more: the error names file and reason, what was there stays, nothing half written is left."""

import errno
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from pseudolidar.cloud import write_cloud
from pseudolidar.files import FileError, replacing, write_npy
from pseudolidar.kitti import Objects, write_disparity, write_image, write_objects, write_points
from pseudolidar.training import save_checkpoint
from pseudolidar.updates import ConfusionMatrix, PredictionStore, Replace
from pseudolidar.viewing import Report, save_figure, write_report

# Less than a buffer of C's, and more.
SIZES = (12, 90)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(1, 200, shape).astype(np.float32)


def drawing(size: int) -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).imshow(noise(size, size))
    return figure


def checkpoint(size: int) -> dict[str, object]:
    return {"state_dict": {"a": torch.from_numpy(noise(size, size))}, "arguments": {}, "losses": [0.5]}


def objects(size: int) -> Objects:
    nothing = np.zeros(size)
    names, box2d, box3d = np.array(["Car"] * size), np.full((size, 4), 5.0), np.full((size, 7), 2.0)
    return Objects(names, nothing, nothing.astype(np.int64), nothing, box2d, box3d)


def write_text(path: Path, size: int) -> None:
    with replacing(path) as temporary, temporary.open("w") as file:
        for _ in range(size * 10):
            file.write("a line of a table\n")


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "map.npy": lambda path, size: write_disparity(path, noise(size, size)),
    "map.png": lambda path, size: write_disparity(path, noise(size, size)),
    "map.pfm": lambda path, size: write_disparity(path, noise(size, size)),
    "image.png": lambda path, size: write_image(path, noise(size, size, 3).astype(np.uint8)),
    "image.jpg": lambda path, size: write_image(path, noise(size, size, 3).astype(np.uint8)),
    "points.bin": lambda path, size: write_points(path, noise(size * 5, 4)),
    "cloud.npz": lambda path, size: write_cloud(path, noise(size * 5, 4)),
    "cloud.ply": lambda path, size: write_cloud(path, noise(size * 5, 4)),
    "cloud.pcd": lambda path, size: write_cloud(path, noise(size * 5, 4)),
    "u.pt": lambda path, size: save_checkpoint(path, checkpoint(size)),
    "u.safetensors": lambda path, size: save_checkpoint(path, checkpoint(size)),
    "figure.png": lambda path, size: save_figure(drawing(size), path),
    "figure.svg": lambda path, size: save_figure(drawing(size), path),
    "figure.pdf": lambda path, size: save_figure(drawing(size), path),
    "report.html": lambda path, size: write_report(Report("title", "lead " * size, ()), path),
    "labels.npy": lambda path, size: write_npy(path, noise(size, size)),
    "objects.txt": lambda path, size: write_objects(path, objects(size)),
    "table.csv": write_text,
}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes; Python ignores the signal, and writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_once(write: Callable[[Path, int], None], path: Path, size: int) -> bytes:
    """What the writer writes where there is room."""
    try:
        write(path, size)
    except FileError as error:
        if "Open3D" in str(error) and "does not load" in str(error):
            pytest.skip(str(error))
        raise
    return path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_may_not_grow(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / name
    whole = write_once(WRITERS[name], path, size)
    # Cut off at the beginning, within, and before the last bytes, which a buffer may hold until the file is closed.
    for room in (0, len(whole) // 2, len(whole) - 1):
        with pytest.raises(FileError) as caught, largest_file(room):
            WRITERS[name](path, size)
        assert str(caught.value) == f"{path}: {os.strerror(errno.EFBIG)}"
        assert path.read_bytes() == whole
        path.unlink()
        with pytest.raises(FileError), largest_file(room):
            WRITERS[name](path, size)
        assert not list(tmp_path.iterdir())
        path.write_bytes(whole)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with one page left; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("no file system can be mounted here")
    try:
        (folder / "filler").write_bytes(bytes(28 << 10))
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", WRITERS)
def test_no_space_left(tmp_path: Path, full_disk: Path, name: str) -> None:
    size = SIZES[1]
    write_once(WRITERS[name], tmp_path / name, size)
    if (tmp_path / name).stat().st_size <= 4096:
        size *= 10
    with pytest.raises(FileError) as caught:
        WRITERS[name](full_disk / name, size)
    assert str(caught.value) == f"{full_disk / name}: {os.strerror(errno.ENOSPC)}"
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def evaluated(store: PredictionStore, items: int) -> None:
    chosen = np.arange(items)
    store.request(chosen)
    store.update(chosen, np.zeros(items, np.int16), ConfusionMatrix(np.full((4, 4), 0.25)), Replace())


def test_a_store_of_predictions_goes_on_after_a_full_disk(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with pytest.raises(FileError, match=rf"posterior\.npy: {os.strerror(errno.EFBIG)}"), largest_file(10_000):
        PredictionStore.create(folder, 5_000, 4)
    assert not list(tmp_path.iterdir())
    with PredictionStore.create(folder, 5_000, 4) as store:
        evaluated(store, 10)
        labels = store.labels.copy()
        files = {path.name for path in folder.iterdir()}
        with pytest.raises(FileError, match=os.strerror(errno.EFBIG)), largest_file(90_000):
            store.add(5_000)
        assert store.items == 5_000
        with pytest.raises(FileError, match=r"request-1\.npy: "), largest_file(2_000):
            store.request(np.arange(1_000))
        store.request(np.arange(1_000))
        with pytest.raises(FileError, match=r"step-1: "), largest_file(9_000):
            matrix = ConfusionMatrix(np.full((4, 4), 0.25))
            store.update(np.arange(1_000), np.zeros(1_000, np.int16), matrix, Replace())
        np.testing.assert_array_equal(store.labels, labels)
        assert {path.name for path in folder.iterdir()} - files == {"request-1.npy"}
        evaluated(store, 1_000)
        store.add(5_000)
    with PredictionStore(folder) as store:
        assert store.items == 10_000 and len(store.steps) == 2
        assert (store.labels[:1_000] == 0).all() and (store.labels[1_000:] == -1).all()
