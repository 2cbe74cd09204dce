"""Pairs that no disparity model can be right on: interchanged, not rectified, one image twice."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pseudolidar.files import FormatError
from pseudolidar.kitti import Frame, ObjectDataset
from pseudolidar.stereo import require_rectified
from pseudolidar.stereo.rectification import FEWEST_POINTS, matching_points
from tests.stereo.conftest import seen_from_right, texture

Image = NDArray[np.uint8]


def wall(seed: int) -> Image:
    return texture(np.random.default_rng(seed), 160, 480)


def frame_of(folder: Path, left: Image, right: Image) -> Frame:
    for name, image in (("image_2", left), ("image_3", right)):
        (folder / name).mkdir(parents=True)
        assert cv2.imwrite(str(folder / name / "000000.png"), image[:, :, ::-1])
    return Frame(folder, "000000")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("disparity_px", [0.0, 0.5, 7.3, 60.0])
def test_a_pair_is_one_and_interchanged_is_none(seed: int, disparity_px: float, tmp_path: Path) -> None:
    left = wall(seed)
    right = seen_from_right(left, disparity_px)
    right[0, 0] ^= 1
    require_rectified(frame_of(tmp_path / "pair", left, right))
    interchanged = frame_of(tmp_path / "interchanged", right, left)
    if disparity_px > 2:
        with pytest.raises(FormatError, match=rf"image_3.*{disparity_px:.0f}\.\d px farther right.*interchanged"):
            require_rectified(interchanged)
    else:
        require_rectified(interchanged)


@pytest.mark.parametrize("rows", [-6.0, 3.0])
def test_rows_apart_are_named(rows: float, tmp_path: Path) -> None:
    left = wall(0)
    with pytest.raises(FormatError, match=rf"found what is seen in both {abs(rows):.1f} rows apart"):
        require_rectified(frame_of(tmp_path, left, seen_from_right(left, 10.0, rows)))


def test_one_image_twice_is_no_pair(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="the left image once more"):
        require_rectified(frame_of(tmp_path, wall(0), wall(0)))


@pytest.mark.parametrize("blank", [lambda: np.zeros((8, 9, 3), np.uint8), lambda: wall(1) // 255])
def test_of_too_few_points_nothing_is_concluded(blank: Callable[[], Image], tmp_path: Path) -> None:
    image = blank()
    other = image.copy()
    other[0, 0] += 1
    for name, left, right in (("blank", image, other), ("unlike", wall(2), wall(3))):
        assert len(matching_points(left, right)) < FEWEST_POINTS
        require_rectified(frame_of(tmp_path / name, left, right))


@pytest.mark.parametrize("rows", [0.0, -3.0])
def test_points_are_as_far_apart_as_they_were_moved(rows: float) -> None:
    offsets = matching_points(wall(0), seen_from_right(wall(0), 9.0, rows))
    assert len(offsets) >= FEWEST_POINTS
    np.testing.assert_allclose(np.median(offsets, axis=0), (9.0, -rows), atol=0.1)


def test_real_pairs_are_pairs_and_interchanged_are_none(kitti_sample: Path, tmp_path: Path) -> None:
    data = ObjectDataset(kitti_sample / "streets", "val")
    for frame in list(data)[::7]:
        require_rectified(frame)
        left, right = frame.stereo_pair()
        with pytest.raises(FormatError, match="interchanged"):
            require_rectified(frame_of(tmp_path / frame.frame_id, right, left))
