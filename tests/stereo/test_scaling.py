"""Pairs of cameras that a network does not know: how they are scaled, and that their maps are right in metres."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.kitti import Calibration, ObjectDataset
from pseudolidar.stereo import KnownCameras, SemiGlobalMatching, disparity_tensor, scaled_disparity
from pseudolidar.synthetic import TownPreset, write_town

KITTI = TownPreset("full", 1242, 375).calibration()
KNOWN = KnownCameras(361, 192)


def camera(focal_px: float, baseline_m: float) -> Calibration:
    left = np.array([[focal_px, 0, 36, 0], [0, focal_px, 20, 0], [0, 0, 1, 0]])
    return replace(KITTI, P2=left, P3=left - focal_px * baseline_m * np.eye(3, 4, 3))


@dataclass(frozen=True)
class WideTown(TownPreset):
    """The town's cameras, `times` as far from each other."""

    times: float

    def calibration(self) -> Calibration:
        narrow = super().calibration()
        return replace(narrow, P3=narrow.P2 + self.times * (narrow.P3 - narrow.P2))


class RedIsDisparity:
    """The disparity of an image `full_width` px wide, written into its red channel."""

    def __init__(self, full_width: int) -> None:
        self.full_width = full_width

    def predict(self, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> NDArray[np.float32]:
        return left[..., 0] * np.float32(left.shape[1] / self.full_width)


@given(st.floats(50, 5000), st.floats(0.01, 10))
def test_scales_make_cameras_known_and_leave_known_ones(focal_px: float, baseline_m: float) -> None:
    calibration = camera(focal_px, baseline_m)
    scale = KNOWN.scale_of(calibration)
    # To the rounding of a product and a quotient.
    assert scale * calibration.camera_constant_px_m / 3 < 192 * (1 + 1e-9)
    fits = calibration.camera_constant_px_m / 3 <= 192
    if fits and focal_px >= 361:
        assert scale == 1
        assert KNOWN.notice_of(calibration) is None
    else:
        assert (scale < 1) is not fits
        assert scale * focal_px < 361 * (1 + 1e-9) or not fits
        assert f"{scale:.2f} times" in (KNOWN.notice_of(calibration) or "")


@pytest.mark.parametrize("detail", [0.51, 1.0, 1.36])
def test_kittis_cameras_and_those_of_its_crops_are_known(detail: float) -> None:
    assert KNOWN.scale_of(camera(721.5 * detail, 0.533)) == 1


def test_a_known_cameras_pair_is_not_touched(scene: ObjectDataset) -> None:
    pair, model = scene[0].stereo_pair(), SemiGlobalMatching(16)
    np.testing.assert_array_equal(scaled_disparity(model, *pair, 1.0), disparity_tensor(model, *pair))


@given(st.floats(0.3, 3.0), st.integers(0, 2**31))
def test_two_walls_stay_two_walls(scale: float, seed: int) -> None:
    """No point hangs between them; the map has the image's size and pixels, at scales that fit no whole pixel too."""
    near, far = sorted(np.random.default_rng(seed).choice(np.arange(20, 200, 20), 2, replace=False))
    image = np.full((40, 73, 3), near, np.uint8)
    image[:, 31:] = far
    found = scaled_disparity(RedIsDisparity(73), image, image, scale).numpy()
    assert found.shape == (40, 73)
    assert found.dtype == np.float32
    # A pixel of the smaller image may hold the edge.
    blurred = int(np.ceil(1 / scale)) + 1
    np.testing.assert_allclose(found[:, : 31 - blurred], near, rtol=1e-6)
    np.testing.assert_allclose(found[:, 31 + blurred :], far, rtol=1e-6)


@given(st.floats(0.3, 3.0))
def test_slopes_stay_smooth(scale: float) -> None:
    image = (np.arange(200, dtype=np.uint8)[None, :, None] // 2).repeat(20, axis=0).repeat(3, axis=2)
    found = scaled_disparity(RedIsDisparity(200), image, image, scale).numpy()[:, 8:-8]
    # Half a pixel of disparity lies between the columns; bytes are rounded.
    np.testing.assert_allclose(found, image[:, 8:-8, 0], atol=1.01)


@pytest.mark.parametrize(
    "preset", [TownPreset("large", 832, 256), WideTown("wide", 416, 128, 2.0)], ids=["large images", "wide baseline"]
)
def test_what_is_near_is_right_in_metres(preset: TownPreset, tmp_path: Path) -> None:
    """Matching up to 32 px sees nothing nearer than 8 m with these cameras, unless their pairs are scaled."""
    write_town(tmp_path, preset, {"train": 1}, seed=7, workers=1)
    frame = ObjectDataset(tmp_path)[0]
    matching, constant = SemiGlobalMatching(32), frame.calibration.camera_constant_px_m
    true_m = constant / np.maximum(frame.disparity(), 1e-3)
    near = (frame.disparity() > 0) & (true_m < 0.9 * constant / 32)
    near[:, : int(frame.disparity().max())] = False  # not in the right image
    pair = frame.stereo_pair()
    scale = KnownCameras(100, 32).scale_of(frame.calibration)
    scaled_m, plain_m = (
        constant / np.maximum(scaled_disparity(matching, *pair, factor).numpy(), 1e-3) for factor in (scale, 1.0)
    )
    assert near.mean() > 0.03
    assert np.median(np.abs(scaled_m - true_m)[near]) < 0.15
    assert np.median(np.abs(plain_m - true_m)[near]) > 1.0
