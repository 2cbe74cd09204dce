"""Crops: where they fall, their size, how their looks change, and that nothing is drawn for what is off."""

import dataclasses

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pseudolidar.stereo import Crops
from pseudolidar.stereo.augmentation import add_noise, blur_image, erase_patch
from pseudolidar.stereo.augmentation import recoloured as coloured

PLAIN = Crops(24, 40, object_probability=0.0, jitter=0.0)


def image(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def recoloured(crops: Crops, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return changed(crops, image(1), image(2), np.random.default_rng(seed))


def changed(
    crops: Crops, left: NDArray[np.uint8], right: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both images with their looks, float32 (H, W, 3)."""
    looks = crops.looks(left, right, random)
    pixels = torch.from_numpy(np.stack([left, right])).permute(0, 3, 1, 2)
    tint = None if looks.tint is None else torch.from_numpy(looks.tint)
    images = coloured(pixels, torch.from_numpy(looks.tone), tint)
    assert images.dtype == torch.float32
    if looks.blur is not None:
        blur_image(images[looks.blur[0]], looks.blur[1])
    if looks.noise is not None:
        add_noise((images[0], images[1]), looks.noise)
    if looks.patch is not None:
        erase_patch(images[1], looks.patch)
    first, second = images.permute(0, 2, 3, 1).numpy()
    return first, second


@settings(deadline=None, max_examples=50)
@given(st.integers(24, 60), st.integers(40, 90), st.integers(0, 2**20), st.floats(-50, 100), st.floats(-50, 100))
def test_crops_lie_inside(height: int, width: int, seed: int, x: float, y: float) -> None:
    boxes = np.array([[x, y, x + 10, y + 5]])
    crops = dataclasses.replace(PLAIN, object_probability=0.5)
    rows, columns = crops.place((height, width), boxes, np.random.default_rng(seed))
    assert rows.start >= 0 and rows.stop <= height and rows.stop - rows.start == 24
    assert columns.start >= 0 and columns.stop <= width and columns.stop - columns.start == 40


@settings(deadline=None, max_examples=50)
@given(st.integers(24, 60), st.integers(40, 90), st.integers(0, 2**20), st.floats(0.2, 2), st.floats(1, 3))
def test_what_is_cut_is_the_crop_divided_by_a_scale_that_fits(
    height: int, width: int, seed: int, smallest: float, factor: float
) -> None:
    size = height, width
    crops = dataclasses.replace(PLAIN, scale=(smallest, max(1.0, smallest * factor)))
    rows, columns = crops.place(size, np.array([[5, 5, 30, 20]]), np.random.default_rng(seed))
    assert 0 <= rows.start < rows.stop <= height and 0 <= columns.start < columns.stop <= width
    scale = crops.scale_of(columns)
    # Whole pixels: half of one more or less.
    assert 40 / crops.scale[1] - 0.5 <= 40 / scale <= 40 / max(smallest, crops.smallest_scale(size)) + 0.5
    assert abs((rows.stop - rows.start) - 24 / scale) <= 1


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 1.25, 1.7])
def test_a_scaled_pair_is_one_of_a_scaled_disparity(scale: float) -> None:
    # A smooth pattern on a plane of constant disparity: the left image is the right one, 5 px further to the right.
    column, row = np.meshgrid(np.arange(100.0), np.arange(60.0))

    def view(shift: float) -> NDArray[np.uint8]:
        wave = np.sin((column - shift) / 4) + np.sin((column - shift) / 7 + row / 9)
        return np.rint(127 + 60 * wave).astype(np.uint8)[..., None].repeat(3, axis=2)

    crops = dataclasses.replace(PLAIN, scale=(scale, scale))
    rows, columns = crops.place((60, 100), np.zeros((0, 4)), np.random.default_rng(3))
    left, right = (crops.image_of(view(shift)[rows, columns]).astype(float) for shift in (5, 0))
    disparity = crops.disparity_of(np.full((60, 100), 5, np.float32)[rows, columns])
    assert left.shape == (24, 40, 3) and disparity.shape == (24, 40)
    assert disparity == pytest.approx(5 * crops.scale_of(columns)) == pytest.approx(5 * scale, rel=0.02)

    def mismatch(shift: float) -> float:
        places = np.arange(40) - shift
        inside = places >= 0
        moved = [np.interp(places, np.arange(40), line) for line in right[..., 0]]
        return float(np.abs(left[..., 0] - moved)[:, inside].mean())

    shifts = np.arange(0, 12, 0.05)
    assert shifts[np.argmin([mismatch(shift) for shift in shifts])] == pytest.approx(disparity[0, 0], abs=0.06)


@settings(deadline=None, max_examples=50)
@given(st.integers(10, 60), st.integers(10, 90), st.integers(0, 2**20))
def test_scaled_disparity_is_that_of_the_nearest_pixel(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    cut = (random.uniform(1, 100, (height, width)) * (random.random((height, width)) < 0.3)).astype(np.float32)
    found = PLAIN.disparity_of(cut)
    for row, column in random.integers(0, (24, 40), (20, 2)):
        # The source's pixel that holds the centre of the crop's: the nearest, or one of two.
        y, x = (row + 0.5) * height / 24, (column + 0.5) * width / 40
        assert found[row, column] == cut[int(y + 1e-9), int(x + 1e-9)] * np.float32(40 / width)


def test_an_unscaled_crop_is_what_was_cut() -> None:
    disparity = np.random.default_rng(0).uniform(0, 9, (24, 40)).astype(np.float32)
    assert np.array_equal(PLAIN.image_of(image()), image())
    assert np.array_equal(PLAIN.disparity_of(disparity), disparity)


@pytest.mark.parametrize("scale", [(0.0, 1.0), (1.2, 1.0), (1.0, np.inf), (np.nan, 1.0)])
def test_scales_that_are_none(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"scale: found \[.*\], expected two numbers above 0, the smaller one first"):
        Crops(24, 40, scale=scale)


def test_with_everything_off_images_stay_as_they_are() -> None:
    left, right = recoloured(PLAIN)
    assert np.allclose(left, image(1), atol=1e-4) and np.allclose(right, image(2), atol=1e-4)


def test_the_erased_patch_is_a_rectangle_of_the_right_images_mean_colour() -> None:
    heights, widths = set(), set()
    for seed in range(60):
        left, right = recoloured(dataclasses.replace(PLAIN, erasing=1.0), seed)
        assert np.allclose(left, image(1), atol=1e-4)
        mean = image(2).mean(axis=(0, 1))
        erased = np.abs(right - image(2)).max(axis=2) > 1e-3
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        patch = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        assert erased[patch].all()
        assert np.allclose(right[patch], mean, atol=1e-2)
        heights.add(len(rows))
        widths.add(len(columns))
    # A tenth to three tenths of 24 x 40.
    assert heights == set(range(2, 8)) and min(widths) == 4 and max(widths) == 12


def test_the_share_of_crops_that_lose_a_patch() -> None:
    lost = 0
    for seed in range(200):
        _, right = recoloured(dataclasses.replace(PLAIN, erasing=0.3), seed)
        lost += not np.allclose(right, image(2), atol=1e-4)
    assert 35 < lost < 85


def test_colour_changes_saturation_and_gamma_of_both_images_much_alike() -> None:
    def saturation(picture: NDArray[np.float32]) -> float:
        return float((picture.max(axis=2) - picture.min(axis=2)).mean())

    found = []
    for seed in range(40):
        left, right = recoloured(dataclasses.replace(PLAIN, colour=0.4), seed)
        assert min(left.min(), right.min()) >= 0 and max(left.max(), right.max()) <= 255.1
        found.append([saturation(left), saturation(right), left.mean(), right.mean()])
    values = np.array(found)
    assert values.std(axis=0).min() > 2
    assert np.corrcoef(values[:, 0], values[:, 1])[0, 1] > 0.8
    assert np.corrcoef(values[:, 2], values[:, 3])[0, 1] > 0.8


def test_grey_stays_grey_under_a_change_of_colour() -> None:
    grey = image(1)[..., :1].repeat(3, axis=2)
    left, _ = changed(dataclasses.replace(PLAIN, colour=0.5), grey, grey, np.random.default_rng(0))
    assert np.ptp(left, axis=2).max() < 1e-2
    assert np.abs(left - grey).max() > 1


def test_one_image_is_blurred_by_a_random_weight() -> None:
    weights: list[list[float]] = [[], []]
    smooth = [
        scipy.ndimage.correlate(
            image(seed).astype(float), np.outer([1, 2, 1], [1, 2, 1])[..., None] / 16, mode="nearest"
        )
        for seed in (1, 2)
    ]
    for seed in range(60):
        found = recoloured(dataclasses.replace(PLAIN, blur=0.6), seed)
        is_blurred = [not np.allclose(found[side], image(side + 1), atol=1e-3) for side in range(2)]
        assert sum(is_blurred) == 1
        side = is_blurred.index(True)
        before, whole = image(side + 1).astype(float), smooth[side] - image(side + 1)
        weight = float(((found[side] - before) * whole).sum() / (whole**2).sum())
        assert np.allclose(found[side], before + weight * whole, atol=1e-3)
        weights[side].append(weight)
    assert min(len(some) for some in weights) > 15
    assert 0 <= min(map(min, weights)) < 0.1 and 0.5 < max(map(max, weights)) <= 0.6


def test_noise_is_gaussian_and_each_images_own() -> None:
    found = []
    for seed in range(200):
        left, right = recoloured(dataclasses.replace(PLAIN, noise=8.0), seed)
        noise = np.stack([left - image(1), right - image(2)]).reshape(2, -1)
        deviations = noise.std(axis=1)
        # Standard errors of a mean, a deviation, a correlation and a kurtosis of 2880 values; 200 pairs.
        assert (np.abs(noise.mean(axis=1)) < 4.5 * deviations / np.sqrt(2880) + 1e-4).all()
        assert abs(np.corrcoef(noise)[0, 1]) < 4.5 / np.sqrt(2880)
        found.append(deviations)
    values = np.array(found)
    assert values.min() < 0.3 and 7.5 < values.max() < 8 * 1.06
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.3
    # Two thirds of a Gaussian's values are within its deviation.
    assert np.mean(np.abs(noise) < deviations[:, None]) == pytest.approx(0.683, abs=0.03)


def test_noise_is_the_same_whenever_it_is_made() -> None:
    crops = dataclasses.replace(PLAIN, noise=8.0)
    first, again, other = recoloured(crops, 1), recoloured(crops, 1), recoloured(crops, 2)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_what_is_off_draws_no_random_numbers() -> None:
    states = []
    for crops in (PLAIN, dataclasses.replace(PLAIN, jitter=0.3)):
        random = np.random.default_rng(0)
        crops.looks(image(1), image(2), random)
        states.append(random.random())
    expected = np.random.default_rng(0)
    expected.random(6)
    assert states == [expected.random()] * 2


def test_looks_are_those_of_the_formulas_in_numpy() -> None:
    luma = np.array([0.299, 0.587, 0.114])
    for seed in range(10):
        looks = dataclasses.replace(PLAIN, jitter=0.3, colour=0.3).looks(
            image(1), image(2), np.random.default_rng(seed)
        )
        assert looks.tint is not None
        pixels = torch.from_numpy(np.stack([image(1), image(2)])).permute(0, 3, 1, 2)
        found = coloured(pixels, torch.from_numpy(looks.tone), None).permute(0, 2, 3, 1).numpy()
        for side, (mean, contrast, brightness) in enumerate(looks.tone):
            # The same bits: no step of it is rounded otherwise on any device.
            toned = (image(side + 1).astype(np.float32) - mean) * contrast + brightness
            assert np.array_equal(found[side], toned)
            grey = (toned @ luma)[..., None]
            saturation, exponent = looks.tint[side].astype(float)
            tinted = ((grey + (toned - grey) * saturation).clip(0, 255) / 255) ** exponent * 255
            both = coloured(pixels, torch.from_numpy(looks.tone), torch.from_numpy(looks.tint))
            assert np.allclose(both[side].permute(1, 2, 0).numpy(), tinted, atol=1e-2)


@pytest.mark.parametrize("name", ["object_probability", "jitter", "colour", "erasing", "blur"])
def test_shares_are_shares(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name}: found 1\.5"):
        dataclasses.replace(PLAIN, **{name: 1.5})  # type: ignore[arg-type]


def test_noise_is_within_the_counts() -> None:
    with pytest.raises(ValueError, match=r"noise: found -1, expected a number from 0 to 255"):
        dataclasses.replace(PLAIN, noise=-1)
