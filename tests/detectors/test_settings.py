"""The settings in configs/: what was published, and what is slim about the slim ones."""

from dataclasses import asdict

import pytest

from pseudolidar.detectors.frustum_pointnet import FrustumTraining
from pseudolidar.detectors.pointrcnn.rcnn import PUBLISHED_RCNN
from pseudolidar.detectors.pointrcnn.rpn import PUBLISHED_BACKBONE, PUBLISHED_PROPOSALS
from pseudolidar.files import Record
from tests.conftest import settings_of


def frustum(name: str) -> FrustumTraining:
    settings = settings_of(f"detector/{name}")
    assert isinstance(settings, FrustumTraining)
    return settings


def test_published_runs() -> None:
    v2, v1 = frustum("frustum_pointnet"), frustum("frustum_pointnet_v1")
    assert (v2.version, v2.batch_size, v2.points, v2.object_points, v2.learning_rate) == (2, 24, 1024, 512, 0.001)
    # The published code keeps 0.7 of v2's features, 0.5 of v1's.
    assert (v2.dropout, v1.dropout) == (0.3, 0.5)
    assert (v1.version, v1.batch_size, v1.points) == (1, 32, 1024)
    for published in (v1, v2):
        assert (published.width, published.density, published.precision) == (1, 1, "float32")
        assert (published.min_box_height_px, published.min_points) == (25, 5)
        assert (published.jitter, published.flip, published.mean_size) == (0.1, True, "published")
        assert not published.centre_depth and not published.add_box_score
        # 201 epochs of the same number of frusta.
        assert published.steps * published.batch_size == pytest.approx(201 * 12_700, rel=0.01)


@pytest.mark.parametrize(("name", "version"), [("frustum_pointnet_slim", 1), ("frustum_pointnet_v2_slim", 2)])
def test_slim_networks(name: str, version: int) -> None:
    slim = frustum(name)
    assert slim.version == version
    assert slim.width == 0.25 and slim.steps < 2000


def test_the_published_pointrcnn() -> None:
    published = settings_of("detector/pointrcnn")
    # As a record keeps them: lists for tuples.
    for found, expected in (
        (published.backbone, PUBLISHED_BACKBONE),
        (published.rcnn, PUBLISHED_RCNN),
        (published.proposals, PUBLISHED_PROPOSALS),
    ):
        assert Record("", asdict(found), {}) == Record("", asdict(expected), {})
