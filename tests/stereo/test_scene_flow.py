"""Scene Flow data sets in their own layout, against torchvision's reader where that one is right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.files import FormatError
from pseudolidar.kitti import read_image, read_pfm, write_image
from pseudolidar.stereo import Crops, SceneFlowPairs, StereoBatches

SCENES = {
    "FlyingThings3D": ("TRAIN/A/0000", "TRAIN/B/0003", "TEST/A/0000"),
    "Driving": ("15mm_focallength/scene_forwards/fast", "35mm_focallength/scene_backwards/slow"),
    "Monkaa": ("a_rain_of_stones_x2",),
}


def write_pfm(path: Path, values: NDArray[np.float32], order: str = "<") -> None:
    height, width = values.shape
    header = f"Pf\n{width} {height}\n{-1.0 if order == '<' else 1.0}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + values[::-1].astype(f"{order}f4").tobytes())


def disparity_of(scene: str, frame: int) -> NDArray[np.float32]:
    return np.random.default_rng(len(scene) + frame).uniform(0.5, 90, (24, 40)).astype(np.float32)


def write_scenes(folder: Path) -> Path:
    """Two frames of every scene; the disparities of Monkaa are stored with the other sign."""
    random = np.random.default_rng(0)
    for subset, scenes in SCENES.items():
        for scene in scenes:
            for frame in (6, 7):
                for side in ("left", "right"):
                    image = random.integers(0, 256, (24, 40, 3), dtype=np.uint8)
                    write_image(folder / subset / "frames_cleanpass" / scene / side / f"{frame:04d}.png", image)
                    values = disparity_of(scene, frame) + (side == "right")
                    sign = -1 if subset == "Monkaa" else 1
                    write_pfm(folder / subset / "disparity" / scene / side / f"{frame:04d}.pfm", sign * values)
    return folder


def pairs_of(root: Path, split: str = "train", subsets: Sequence[str] = tuple(SCENES), rendering: str = "clean") -> Any:
    return SceneFlowPairs(root, split, subsets, rendering)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_scenes(tmp_path / "SceneFlow")


def test_the_pairs_are_torchvisions(root: Path) -> None:
    for subset in SCENES:
        theirs = torchvision.datasets.SceneFlowStereo(root.parent, subset, "clean")
        ours = [pairs_of(root, "train", [subset])]
        if subset == "FlyingThings3D":
            # torchvision lists TEST, then TRAIN, as one data set.
            ours.insert(0, pairs_of(root, "test", [subset]))
        pairs = [part.read(index) for part in ours for index in range(len(part.names))]
        assert len(pairs) == len(theirs)
        for pair, (left, right, disparity) in zip(pairs, theirs, strict=True):
            assert np.array_equal(pair.left, np.asarray(left))
            assert np.array_equal(pair.right, np.asarray(right))
            assert np.array_equal(pair.disparity, disparity[0])


def test_names_halves_and_camera_constants(root: Path) -> None:
    pairs = pairs_of(root)
    assert len(pairs.names) == 10
    constants = {name: pairs.read(index).camera_constant_px_m for index, name in enumerate(pairs.names)}
    assert constants["FlyingThings3D/TRAIN/A/0000/left/0006"] == 1050
    assert constants["Driving/15mm_focallength/scene_forwards/fast/left/0007"] == 450
    assert constants["Driving/35mm_focallength/scene_backwards/slow/left/0007"] == 1050
    assert constants["Monkaa/a_rain_of_stones_x2/left/0006"] == 1050
    test = pairs_of(root, "test")
    assert list(test.names) == [f"FlyingThings3D/TEST/A/0000/left/{frame:04d}" for frame in (6, 7)]
    assert np.array_equal(test.read(1).disparity, disparity_of("TEST/A/0000", 7))
    assert not set(test.names) & set(pairs.names)


def test_webp_images_are_found_too(root: Path) -> None:
    for path in list(root.rglob("*.png")):
        image = read_image(path)
        path.unlink()
        cv2.imwrite(str(path.with_suffix(".webp")), image[..., ::-1])
    assert pairs_of(root).read(0).left.shape == (24, 40, 3)


def test_batches_of_them(root: Path) -> None:
    at = StereoBatches(pairs_of(root), 5, Crops(16, 32, jitter=0.0), seed=0)
    batch, other = at(0), at(1)
    assert batch.left.shape == (5, 16, 32, 3)
    assert len({*batch.frame_ids, *other.frame_ids}) == 10
    for name, target, constant in zip(batch.frame_ids, batch.target.numpy(), batch.camera_constant, strict=True):
        scene, frame = name.partition("/")[2].split("/left/")
        truth = np.rint(disparity_of(scene, int(frame)) * 256) / 256
        assert any(
            np.array_equal(truth[row : row + 16, column : column + 32], target)
            for row in range(9)
            for column in range(9)
        )
        assert constant == (450 if "15mm" in name else 1050)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from("<>"), st.integers(0, 2**20))
def test_portable_float_maps(tmp_path_factory: pytest.TempPathFactory, h: int, w: int, order: str, seed: int) -> None:
    path = tmp_path_factory.mktemp("pfm") / "a.pfm"
    values = np.random.default_rng(seed).normal(size=(h, w)).astype(np.float32)
    write_pfm(path, values, order)
    assert np.array_equal(read_pfm(path), values)
    theirs = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert theirs is not None and np.array_equal(theirs, values)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "header"),
        (b"PF\n2 1\n-1.0\n" + bytes(24), "header: found 'PF"),
        (b"Pf\n2 one\n-1.0\n" + bytes(8), "header"),
        (b"Pf\n2 1\n0\n" + bytes(8), "header"),
        (b"Pf\n2 1\n-1.0\n" + bytes(7), "pixels: found 7 bytes, expected 8 bytes"),
        (b"Pf\n2 1\n-1.0\n" + bytes(12), "pixels: found 12 bytes"),
    ],
)
def test_broken_maps_are_named(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / "a.pfm").write_bytes(content)
    with pytest.raises(FormatError, match=rf"a\.pfm: {found}"):
        read_pfm(tmp_path / "a.pfm")


def test_bad_folders_and_arguments(root: Path) -> None:
    with pytest.raises(FormatError, match=r"FlyingThings3D/disparity/TRAIN: folder: found nothing there"):
        pairs_of(root / "Driving")
    for name, value in (("split", "val"), ("subsets", ["Sintel"]), ("subsets", []), ("rendering", "webp")):
        with pytest.raises(ValueError, match=f"{name}: found"):
            pairs_of(root, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="FlyingThings3D among them"):
        pairs_of(root, "test", ["Monkaa"])


def test_bad_pairs_are_named(root: Path) -> None:
    pairs = pairs_of(root, subsets=["Monkaa"])
    folder = root / "Monkaa"
    values = disparity_of("a", 0)
    values[3, 5] = np.nan
    write_pfm(folder / "disparity" / "a_rain_of_stones_x2" / "left" / "0006.pfm", values)
    with pytest.raises(FormatError, match=r"left/0006\.png: disparity, row 3, column 5 \(1 such pixels\): found nan"):
        pairs.read(0)
    right = folder / "frames_cleanpass" / "a_rain_of_stones_x2" / "right" / "0007.png"
    write_image(right, np.zeros((24, 39, 3), np.uint8))
    with pytest.raises(FormatError, match=r"left/0007\.png: right image: found 39 x 24 px, expected 40 x 24 px"):
        pairs.read(1)
    right.unlink()
    with pytest.raises(FormatError, match=r"right/0007\.png: file: found nothing there"):
        pairs.read(1)
