"""Training batches: what they depend on, where crops fall, what they hold, bad input."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import ObjectDataset, read_image, write_disparity, write_image
from pseudolidar.stereo import Crops, ObjectPairs, StereoBatches, StereoPair, target_disparity
from pseudolidar.stereo.data import normalised
from pseudolidar.training import BatchShard


def batches(scene: ObjectDataset, object_probability: float = 0.5, jitter: float = 0.0, seed: int = 0) -> StereoBatches:
    return StereoBatches(ObjectPairs(scene), 2, Crops(16, 32, object_probability, jitter), seed)


def test_a_batch_depends_on_seed_and_step_alone(scene: ObjectDataset) -> None:
    first, second = batches(scene, jitter=0.3), batches(scene, jitter=0.3)
    for step in range(5):
        first(step)
    expected, found = first(7), pickle.loads(pickle.dumps(second))(7)
    assert expected.frame_ids == found.frame_ids
    for name in ("left", "right", "tone", "target", "camera_constant"):
        assert torch.equal(getattr(expected, name), getattr(found, name))
    assert not torch.equal(batches(scene, jitter=0.3, seed=1)(7).left, found.left)
    assert not torch.equal(first(8).left, found.left)


def test_every_frame_is_seen_once_before_any_is_seen_again(scene: ObjectDataset) -> None:
    at = batches(scene)
    orders = []
    for epoch in range(6):
        seen = [frame_id for step in (2 * epoch, 2 * epoch + 1) for frame_id in at(step).frame_ids]
        assert sorted(seen) == scene.frame_ids
        orders.append(seen)
    assert len({tuple(order) for order in orders}) > 1


def test_crops_hold_what_the_frames_hold(scene: ObjectDataset) -> None:
    at = batches(scene)
    for step in range(4):
        batch = at(step)
        seen_left, seen_right = (images.numpy() for images in batch.images())
        for index, frame_id in enumerate(batch.frame_ids):
            frame = scene.frame(frame_id)
            pixels, truth = frame.left_image(), frame.disparity()
            places = [
                (row, column)
                for row in range(truth.shape[0] - 15)
                for column in range(truth.shape[1] - 31)
                if np.array_equal(pixels[row : row + 16, column : column + 32], batch.left[index].numpy())
            ]
            assert len(places) == 1
            row, column = places[0]
            assert np.array_equal(batch.target[index].numpy(), truth[row : row + 16, column : column + 32])
            crop = (slice(row, row + 16), slice(column, column + 32))
            assert np.array_equal(batch.right[index].numpy(), frame.right_image()[crop])
            # Contrast about the mean, even without jitter, rounds: a millionth of 255.
            assert np.allclose(seen_left[index], normalised(pixels[crop]), atol=1e-5)
            assert np.allclose(seen_right[index], normalised(frame.right_image()[crop]), atol=1e-5)
            assert batch.camera_constant[index] == pytest.approx(90)


def test_crops_centred_on_objects_hold_them(scene: ObjectDataset) -> None:
    def share(probability: float) -> float:
        at = batches(scene, probability)
        return float(np.mean([(at(step).target > 3).float().mean() for step in range(40)]))

    # The car is 20 x 24 px of 40 x 72; three quarters of a 16 x 32 crop around its centre lie at most on it.
    assert share(1.0) > 1.5 * share(0.0)


def test_jitter_changes_both_images_much_alike(scene: ObjectDataset) -> None:
    plain, changed = batches(scene), batches(scene, jitter=0.4)
    differences = []
    for step in range(20):
        before, after = plain(step), changed(step)
        assert before.frame_ids == after.frame_ids
        assert torch.equal(before.target, after.target)
        changes = [float((new - old).mean()) for new, old in zip(after.images(), before.images(), strict=True)]
        differences.append(changes)
    left_change, right_change = np.array(differences).T
    assert left_change.std() > 0.1
    assert np.corrcoef(left_change, right_change)[0, 1] > 0.8


def test_normalisation_by_imagenets_statistics() -> None:
    image = np.array([[[0, 128, 255]]], np.uint8)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalised(image).ravel() == pytest.approx(expected, rel=1e-5)
    assert normalised(image).shape == (3, 1, 1)


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)])
def test_only_8_bit_colour_is_normalised(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"image: found .*, expected uint8 \(H, W, 3\) RGB"):
        normalised(image)


def pair_of(**changes: object) -> StereoPair:
    image = np.zeros((20, 40, 3), np.uint8)
    fields = {"source": Path("left.png"), "left": image, "right": image, "disparity": np.ones((20, 40), np.float32)}
    return StereoPair(**{**fields, "camera_constant_px_m": 90.0, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"right": np.full((20, 40, 3), np.nan, np.float32)}, "right image: found float32"),
        ({"left": np.zeros((20, 40, 4), np.uint8)}, "left image: found uint8"),
        ({"right": np.zeros((20, 41, 3), np.uint8)}, "right image: found 41 x 20 px, expected 40 x 20 px"),
        ({"disparity": np.ones((19, 40), np.float32)}, "disparity: found 40 x 19 px"),
        ({"disparity": np.full((20, 40), np.nan, np.float32)}, r"disparity, row 0, column 0 \(800 such pixels\)"),
        ({"disparity": np.full((20, 40), np.inf, np.float32)}, r"disparity, row 0.*: found inf"),
        ({"disparity": np.full((20, 40), -3, np.float32)}, r"disparity, row 0.*: found -3"),
    ],
)
def test_pairs_that_are_none(changes: dict[str, object], message: str) -> None:
    pair_of()
    with pytest.raises(FormatError, match=rf"left\.png: {message}"):
        pair_of(**changes)


class OnePair:
    """A data set of a user's own, given by the protocol alone."""

    names = ("mine",)

    def __init__(self, disparity: np.ndarray) -> None:
        self._disparity = disparity

    def read(self, index: int) -> StereoPair:
        return pair_of(disparity=self._disparity)

    def files(self, index: int) -> list[Path]:
        return []


def test_disparities_that_16_bits_do_not_hold_count_as_unknown() -> None:
    disparity = np.linspace(200, 300, 800, dtype=np.float32).reshape(20, 40)
    batch = StereoBatches(OnePair(disparity), 1, Crops(20, 40, jitter=0.0), 0)(0)
    assert batch.frame_ids == ("mine",)
    expected = np.where(disparity < 255.998, np.rint(disparity * 256) / 256, 0)
    assert np.array_equal(batch.target[0].numpy(), expected)


def test_without_exact_disparity_the_lidar_is_the_target(scene: ObjectDataset) -> None:
    frame = scene[0]
    frame.path("disparity").unlink()
    target = target_disparity(frame)
    assert target.shape == (40, 72)
    # Two points: straight ahead at 30 m, and at 15 m 0.2 m to the left and 0.1 m up.
    assert {(int(row), int(column)) for row, column in np.argwhere(target)} == {(20, 36), (20, 35)}
    assert target[20, 36] == pytest.approx(3)
    assert target[20, 35] == pytest.approx(6)


def test_every_shard_gives_its_part_of_the_batch(scene: ObjectDataset) -> None:
    at = StereoBatches(ObjectPairs(scene), 3, Crops(16, 32, 0.5, 0.3, 0.3, 0.5, 0.5, 9.0, (0.8, 1.2)), 0)
    for step in range(4):
        whole = at(step)
        parts = [at(step, BatchShard(index, 2)) for index in range(2)]
        assert [name for part in parts for name in part.frame_ids] == list(whole.frame_ids)
        assert torch.equal(torch.cat([part.target for part in parts]), whole.target)
        for side in range(2):
            assert torch.equal(torch.cat([part.images()[side] for part in parts]), whole.images()[side])
    assert all(whole.blurs) and all(whole.noises)


def test_a_truncated_png_is_named_whenever_it_comes(scene: ObjectDataset) -> None:
    at = batches(scene)
    for kind in ("image_2", "image_3", "disparity"):
        path = scene[1].path(kind)
        whole = path.read_bytes()
        at(0), at(1)
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(FormatError, match=rf"{kind}.{path.name}: byte \d+: found the end of a truncated PNG"):
            [at(step) for step in range(5000, 5002)]
        path.write_bytes(whole)


def test_no_frames(tmp_path: Path) -> None:
    (tmp_path / "training" / "calib").mkdir(parents=True)
    with pytest.raises(FormatError, match="no frames"):
        batches(ObjectDataset(tmp_path))


def test_images_smaller_than_the_crop_are_named(scene: ObjectDataset) -> None:
    with pytest.raises(FormatError, match=r"72 x 40 px.*128 x 64|40 x 72 px.*64 x 128"):
        StereoBatches(ObjectPairs(scene), 1, Crops(64, 128), 0)(0)


def test_images_of_two_sizes_are_named(scene: ObjectDataset) -> None:
    path = scene[0].path("image_3")
    write_image(path, read_image(path)[:, 1:])
    with pytest.raises(FormatError, match=r"image_3.*71 x 40"):
        [batches(scene)(step) for step in range(2)]


def test_disparity_of_another_size_is_named(scene: ObjectDataset) -> None:
    path = scene[0].path("disparity")
    write_disparity(path, np.ones((39, 72), np.float32))
    with pytest.raises(FormatError, match=r"disparity.*72 x 39"):
        [batches(scene)(step) for step in range(2)]


def test_targets_beyond_the_farthest_depth_count_as_unknown(scene: ObjectDataset) -> None:
    crops = Crops(16, 32, 1.0, 0.0)
    every = StereoBatches(ObjectPairs(scene), 1, crops, seed=3)(0)
    near = StereoBatches(ObjectPairs(scene), 1, crops, seed=3, max_depth_m=20.0)(0)
    depth = every.camera_constant[:, None, None] / every.target
    kept = (every.target > 0) & (depth <= 20.0)
    assert 0 < int(kept.sum()) < int((every.target > 0).sum())
    assert torch.equal(near.target, torch.where(kept, every.target, torch.zeros(())))
    assert torch.equal(near.left, every.left)


def test_scaled_crops_keep_their_depth(scene: ObjectDataset) -> None:
    crops = Crops(24, 32, 0.0, 0.0, scale=(0.4, 1.6))
    at = StereoBatches(ObjectPairs(scene), 1, crops, seed=3, max_depth_m=20.0)
    constants = []
    for step in range(20):
        batch = at(step)
        constant = float(batch.camera_constant[0])
        constants.append(constant)
        known = batch.target[batch.target > 0]
        pair = ObjectPairs(scene).read(scene.frame_ids.index(batch.frame_ids[0]))
        depths = np.unique(90 / pair.disparity[pair.disparity > 0])
        # Targets are whole numbers of 1/256 px.
        error = np.abs(constant / known.numpy()[:, None] - depths).min(axis=1, initial=np.inf)
        assert (error < 20 * 20 / constant / 256).all()
        assert torch.equal(at(step).left, batch.left)
    # At most 60 % of the crop fits into an image of 40 x 72 px.
    assert 90 * 24 / 40 * 0.95 < min(constants) < 65 and 130 < max(constants) < 90 * 1.6 * 1.05


def test_crops_that_fit_at_no_scale_are_named(scene: ObjectDataset) -> None:
    crops = Crops(64, 128, scale=(0.5, 1.5))
    with pytest.raises(
        FormatError, match=r"found 40 x 72 px, expected at least the crop's 64 x 128 px / 1\.5, the larg"
    ):
        StereoBatches(ObjectPairs(scene), 1, crops, 0)(0)


def test_no_pairs_are_refused() -> None:
    class Nothing:
        names: tuple[str, ...] = ()

        def read(self, index: int) -> StereoPair:
            raise IndexError(index)

        def files(self, index: int) -> list[Path]:
            raise IndexError(index)

    with pytest.raises(InputError, match="pairs: found none in Nothing, expected at least one"):
        StereoBatches(Nothing(), 1, Crops(16, 32, 0.5, 0.0), seed=0)
