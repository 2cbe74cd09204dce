"""Training samples and batches: which objects, the augmentation's geometry, and where randomness comes from."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.frustum_pointnet.samples import FrustumBatches, FrustumSample, collect_samples
from pseudolidar.files import FormatError
from pseudolidar.kitti import ObjectDataset
from pseudolidar.ops import points_in_box
from tests.conftest import settings_of

SETTINGS: FrustumTraining = settings_of(
    "detector/frustum_pointnet_v1", min_box_height_px=8, jitter=0.1, flip=True, depth_shift=0.05, points=1024
)
UNCHANGED = dataclasses.replace(SETTINGS, jitter=0.0, flip=False, depth_shift=0.0, points=16)


@pytest.fixture(scope="module")
def samples(street: ObjectDataset) -> list[FrustumSample]:
    return collect_samples(SETTINGS, street, [street.root / "clouds"], ["Car"], None, seed=0)


def test_every_visible_object_is_a_sample(street: ObjectDataset, samples: list[FrustumSample]) -> None:
    assert len(samples) == sum(len(frame.objects()) for frame in street) > 10
    for sample in samples:
        assert sample.inside.sum() >= 20
        np.testing.assert_array_equal(sample.inside, points_in_box(sample.cloud.points, sample.box3d))


def test_objects_are_left_out_with_a_reason(
    street: ObjectDataset, clouds: Path, caplog: pytest.LogCaptureFixture, samples: list[FrustumSample]
) -> None:
    heights = np.sort([sample.box2d[3] - sample.box2d[1] for sample in samples])
    with caplog.at_level(logging.INFO):
        settings = dataclasses.replace(SETTINGS, min_box_height_px=float(heights[4]))
        tall = collect_samples(settings, street, [clouds], ["Car"], None, seed=0)
    assert len(tall) == len(samples) - 4
    assert "left out 4: 2D boxes under" in caplog.text
    assert collect_samples(SETTINGS, street, [clouds], ["Pedestrian"], None, seed=0) == []


def test_near_only_leaves_out_far_objects_and_points(
    street: ObjectDataset, clouds: Path, samples: list[FrustumSample]
) -> None:
    near = collect_samples(SETTINGS, street, [clouds], ["Car"], 16.0, seed=0)
    assert 0 < len(near) < len(samples)
    assert {sample.frame_id for sample in near} <= {sample.frame_id for sample in samples}
    assert all(sample.box3d[2] <= 16 for sample in near)
    assert max(sample.cloud.points[:, 2].max() for sample in near) < 16
    assert max(sample.cloud.points[:, 2].max() for sample in samples) > 20


def test_a_large_frustum_is_thinned(street: ObjectDataset, clouds: Path, samples: list[FrustumSample]) -> None:
    thin = collect_samples(dataclasses.replace(SETTINGS, points=25), street, [clouds], ["Car"], None, seed=0)
    assert max(len(sample.cloud) for sample in samples) > 100
    assert max(len(sample.cloud) for sample in thin) == 100


def test_every_folder_of_clouds_gives_its_samples(
    street: ObjectDataset, samples: list[FrustumSample], raised: Path
) -> None:
    both = collect_samples(SETTINGS, street, [street.root / "clouds", raised], ["Car"], None, seed=0)
    alone = collect_samples(SETTINGS, street, [raised], ["Car"], None, seed=0)

    def seen(some: list[FrustumSample]) -> list[tuple[str, float, int]]:
        return sorted((sample.frame_id, float(sample.cloud.points.sum()), int(sample.inside.sum())) for sample in some)

    assert seen(both) == sorted(seen(samples) + seen(alone))
    assert not {*seen(samples)} & {*seen(alone)}


def test_a_missing_cloud_is_named(street: ObjectDataset, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"000000\.bin: file: found nothing there"):
        collect_samples(SETTINGS, street, [tmp_path], ["Car"], None, seed=0)


def source(samples: list[FrustumSample], seed: int = 0, batch_size: int = 32) -> FrustumBatches:
    return FrustumBatches(samples, dataclasses.replace(SETTINGS, batch_size=batch_size, points=256), seed)


def test_targets_move_with_the_points(samples: list[FrustumSample]) -> None:
    batch = source(samples)(3)
    assert batch.points.shape == (32, 256, 4)
    assert batch.one_hot.tolist() == [[1, 0, 0]] * 32
    agreement = []
    for i in range(32):
        length, width, height = batch.size[i].tolist()
        x, y, z = batch.centre[i].tolist()
        box3d = np.array([x, y + height / 2, z, height, width, length, float(batch.heading[i])])
        # Enlarged by a millimetre: surfaces lie exactly on the box.
        box3d[1] += 0.001
        box3d[3:6] += 0.002
        inside = points_in_box(batch.points[i].numpy(), box3d)
        agreement.append((inside >= batch.inside[i].numpy()).mean())
    assert min(agreement) > 0.99
    assert batch.inside.float().mean() > 0.3
    # Objects stand near the frustum's axis, whatever the jitter.
    assert batch.centre[:, 0].abs().max() < 3


def test_a_batch_depends_on_seed_and_step_alone(samples: list[FrustumSample]) -> None:
    first, again = source(samples), source(samples)
    again(0)
    torch.testing.assert_close(first(5).points, again(5).points, atol=0, rtol=0)
    assert (first(5).points != first(6).points).any()
    assert (first(5).points != source(samples, seed=1)(5).points).any()


def test_an_epoch_shows_every_sample_once(samples: list[FrustumSample]) -> None:
    plain = FrustumBatches(samples, dataclasses.replace(UNCHANGED, batch_size=len(samples)), seed=0)
    for step in range(2):
        sizes = plain(step).size[:, 0].tolist()
        assert sorted(sizes) == pytest.approx(sorted(sample.box3d[5] for sample in samples))


def test_without_augmentation_nothing_moves(samples: list[FrustumSample]) -> None:
    batch = FrustumBatches(samples[:1], dataclasses.replace(UNCHANGED, batch_size=1), seed=0)(0)
    x, bottom, z, height = samples[0].box3d[:4]
    assert float(torch.linalg.vector_norm(batch.centre[0, [0, 2]])) == pytest.approx(np.hypot(x, z), rel=1e-5)
    assert float(batch.centre[0, 1]) == pytest.approx(bottom - height / 2, rel=1e-5)
