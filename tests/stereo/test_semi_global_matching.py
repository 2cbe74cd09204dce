"""Semi-global matching: exact on made scenes and close on real ones; holes filled by brute force; bad input."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, ObjectDataset, read_image, read_points
from pseudolidar.stereo import SemiGlobalMatching, lidar_disparity
from pseudolidar.stereo.semi_global_matching import fill_from_background


def plane_pair(slope: float, nearest: float, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray]:
    """Smooth noise on a plane: disparity `nearest` at the bottom, less by `slope` a row; 96 x 160 px."""
    random = np.random.default_rng(seed)
    right = np.zeros((96, 160 + 64), np.float64)
    for period in (4, 7, 13):
        coarse = random.uniform(0, 80, (96 // 3 + 1, right.shape[1] // period + 2))
        places = np.arange(right.shape[1]) / period
        rows = coarse.repeat(3, axis=0)[:96]
        right += np.stack([np.interp(places, np.arange(row.size), row) for row in rows])
    disparity = nearest - slope * np.arange(95, -1, -1.0)[:, None] + np.zeros(160)
    columns = np.arange(160) + 64
    left = np.stack([np.interp(columns - px, np.arange(224), row) for px, row in zip(disparity, right, strict=True)])
    images = [np.rint(image).astype(np.uint8)[..., None].repeat(3, axis=2) for image in (left, right[:, 64:])]
    return images[0], images[1], disparity


@pytest.mark.parametrize("slope", [0.0, 0.05, 0.15])
def test_planes_are_found_to_a_fraction_of_a_pixel(slope: float) -> None:
    left, right, disparity = plane_pair(slope, 20.4, seed=0)
    found = SemiGlobalMatching(32).predict(left, right)
    assert found.dtype == np.float32
    assert np.abs(found - disparity)[:, 24:].mean() < 0.3


def test_the_left_strip_is_not_lost() -> None:
    """What lies in both images is matched though OpenCV leaves out the first `max_disparity` columns."""
    left, right, disparity = plane_pair(0.05, 10.0, seed=1)
    matcher = SemiGlobalMatching(96)
    strip = np.s_[:, 12:96]
    matches = matcher.matches(left, right)[strip]
    assert (matches >= 0).mean() > 0.9
    assert np.abs(matcher.predict(left, right) - disparity)[strip].mean() < 0.2


def test_a_tiny_scene_has_an_answer_everywhere(scene: ObjectDataset) -> None:
    left, right = scene[0].stereo_pair()
    matcher = SemiGlobalMatching(16)
    disparity = matcher.predict(left, right)
    assert disparity.shape == left.shape[:2]
    assert np.isfinite(disparity).all() and (disparity >= 0).all()
    assert (matcher.matches(left, right) < 0).any(), "what only the left camera sees has no match"
    assert np.median(np.abs(disparity - scene[0].disparity())[2:]) < 0.1
    np.testing.assert_array_equal(SemiGlobalMatching(16).predict(left, right), disparity)


def test_the_real_pair_against_its_lidar(kitti_sample: Path) -> None:
    """Most pixels to a pixel; the mean is not: the LiDAR looks over the near car's roof, the camera does not."""
    folder = kitti_sample / "stereo_demo"
    left, right = read_image(folder / "left.png"), read_image(folder / "right.png")
    calibration = Calibration.from_file(folder / "calib.txt")
    truth = lidar_disparity(read_points(folder / "velodyne.bin"), calibration, (left.shape[0], left.shape[1]))
    error = np.abs(SemiGlobalMatching().predict(left, right) - truth)[truth > 0]
    assert np.median(error) < 0.65
    assert np.mean(error > 3) < 0.17


def filled_by_brute_force(disparity: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    def fill_line(line: list[float]) -> list[float]:
        known = [place for place, value in enumerate(line) if np.isfinite(value)]
        out = []
        for place in range(len(line)):
            before = [line[other] for other in known if other <= place][-1:]
            after = [line[other] for other in known if other >= place][:1]
            out.append(min([*before, *after], default=np.inf))
        return out

    rows = [fill_line(list(row)) for row in np.where(valid, disparity, np.inf)]
    columns = np.array([fill_line(list(column)) for column in np.array(rows).T]).T
    return np.where(np.isfinite(columns), columns, 0).astype(np.float32)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 7), st.sampled_from([0.0, 0.1, 0.4, 1.0]), st.integers(0, 10**6))
def test_holes_are_filled_from_the_background(height: int, width: int, share: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    disparity = random.uniform(-1, 50, (height, width)).astype(np.float32)
    valid = random.random((height, width)) < share
    filled = fill_from_background(disparity, valid)
    np.testing.assert_array_equal(filled, filled_by_brute_force(disparity, valid))
    np.testing.assert_array_equal(filled[valid], disparity[valid])
    assert filled.dtype == np.float32


@pytest.mark.parametrize("max_disparity", [0, -16, 40])
def test_a_search_range_that_opencv_would_change_is_refused(max_disparity: int) -> None:
    with pytest.raises(ValueError, match=f"max_disparity: found {max_disparity}.*multiple of 16"):
        SemiGlobalMatching(max_disparity)


def test_bad_pairs_are_named() -> None:
    matcher, image = SemiGlobalMatching(16), np.zeros((8, 20, 3), np.uint8)
    with pytest.raises(ValueError, match=r"right image: found shape \(8, 19, 3\)"):
        matcher.predict(image, image[:, 1:])
    with pytest.raises(ValueError, match=r"left image: found float32 \(8, 20, 3\)"):
        matcher.predict(image.astype(np.float32), image)
    with pytest.raises(ValueError, match=r"right image: found uint8 \(8, 20\)"):
        matcher.predict(image, image[..., 0])
