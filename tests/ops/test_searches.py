"""Furthest point sampling, balls and nearest points: what they promise, and the processor's kernels to the last bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.library import opcheck

from pseudolidar.ops import ball_query, furthest_point_sample, searches_cpu, three_nearest
from pseudolidar.ops import point_sets_reference as reference
from tests.ops.clouds import ADVERSARIAL, adversarial_cloud, random_cloud


def squared(radius: float) -> float:
    return float(np.float32(radius) * np.float32(radius))


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@settings(deadline=None, max_examples=8)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(0, 4),
    count=st.sampled_from([1, 64, 65, 513, 700]),
    radius=st.floats(0.01, 100),
    threads=st.integers(1, 4),
)
def test_kernels_equal_the_reference(seed: int, scenes: int, count: int, radius: float, threads: int) -> None:
    points = random_cloud(seed, scenes, count)
    chosen = reference.furthest_point_sample(points, 40)
    assert torch.equal(searches_cpu.furthest_point_sample(points, 40, threads), chosen)
    # As many queries as are worth several threads.
    queries = random_cloud(seed + 1, scenes, 900)
    found = searches_cpu.ball_query(points, queries, squared(radius), 16, threads)
    assert_same(found, reference.ball_query(points, queries, squared(radius), 16))
    assert_same(searches_cpu.three_nearest(queries, points, threads), reference.three_nearest(queries, points))


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_adversarial_clouds(kind: str) -> None:
    points = adversarial_cloud(kind)
    count = points.shape[1] + 5
    chosen = furthest_point_sample(points, count)
    assert torch.equal(chosen, reference.furthest_point_sample(points, count))
    for radius in (0.5, 5.0, 1e18):
        assert_same(ball_query(points, points, radius, 7), reference.ball_query(points, points, squared(radius), 7))
    assert_same(three_nearest(points, points), reference.three_nearest(points, points))
    assert_same(three_nearest(points, points[:, :1]), reference.three_nearest(points, points[:, :1]))


def test_a_square_is_sampled_corner_by_corner() -> None:
    points = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 1], [0.5, 0, 0.5]]])
    # Opposite corner first; then the two others, equally far: the lower index; once all are taken index 0.
    assert furthest_point_sample(points, 8).tolist() == [[0, 2, 1, 3, 4, 0, 0, 0]]
    assert furthest_point_sample(points.expand(3, -1, -1), 2).tolist() == [[0, 2]] * 3


def test_each_sample_is_the_furthest() -> None:
    points = random_cloud(3, 1, 3000)
    chosen = points[0, furthest_point_sample(points, 200)[0]].double()
    gaps = [torch.cdist(points[0].double(), chosen[:i]).amin(dim=1).max().item() for i in (50, 100, 199)]
    for gap, i in zip(gaps, (50, 100, 199), strict=True):
        assert torch.cdist(chosen[i : i + 1], chosen[:i]).min().item() == pytest.approx(gap, rel=1e-6)


def test_points_that_are_not_finite_are_not_sampled() -> None:
    points = adversarial_cloud("not finite")
    finite = points[0].isfinite().all(dim=1)
    chosen = furthest_point_sample(points, int(finite.sum()))
    assert finite[chosen].all() and len(chosen.unique()) == finite.sum()


def test_balls_hold_the_first_points_by_index() -> None:
    points = torch.tensor([[[5.0, 0, 0], [0.9, 0, 0], [0.1, 0, 0], [0, 0, 0.5], [1, 0, 0]]])
    centres = torch.tensor([[[0.0, 0, 0], [5, 0, 0], [0, 9, 0], [torch.nan, 0, 0]]])
    index, found = ball_query(points, centres, 1.0, 4)
    # A point at the radius itself is outside.
    assert index.tolist() == [[[1, 2, 3, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]]
    assert found.tolist() == [[3, 1, 0, 0]]
    assert ball_query(points, centres, 1.0, 2)[0][0, 0].tolist() == [1, 2]
    index, found = ball_query(points[:, :0], centres, 1.0, 4)
    assert not index.any() and not found.any()
    assert ball_query(points, centres[:, :0], 1.0, 4)[0].shape == (1, 0, 4)


def test_three_nearest_in_order() -> None:
    known = torch.tensor([[[1.0, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, 0.5]]])
    distance, index = three_nearest(torch.tensor([[[0.0, 0, 0], [torch.nan, 0, 0]]]), known)
    assert index.tolist() == [[[3, 0, 1], [0, 0, 0]]]
    assert distance.tolist() == [[[0.25, 1, 1], [torch.inf] * 3]]
    distance, index = three_nearest(torch.zeros(1, 1, 3), known[:, :2])
    assert index.tolist() == [[[0, 1, 0]]] and distance.tolist() == [[[1, 1, torch.inf]]]
    assert torch.isinf(three_nearest(torch.zeros(1, 1, 3), known[:, :0])[0]).all()


def test_any_strides() -> None:
    points = random_cloud(0, 2, 600)
    strided = points.transpose(1, 2).contiguous().transpose(1, 2)
    assert not strided.is_contiguous()
    assert torch.equal(furthest_point_sample(strided, 9), furthest_point_sample(points, 9))
    assert_same(ball_query(strided, strided, 1.0, 3), ball_query(points, points, 1.0, 3))
    assert_same(three_nearest(strided, strided), three_nearest(points, points))


def test_scenes_in_threads() -> None:
    # As many as are worth several threads, of which each takes some.
    points = random_cloud(5, 8, 1000)
    expected = [reference.furthest_point_sample(scene[None], 300) for scene in points]
    for threads in (1, 2, 3):
        chosen = searches_cpu.furthest_point_sample(points, 300, threads)
        assert torch.equal(chosen, torch.cat(expected))


def test_custom_operators() -> None:
    points = random_cloud(0, 2, 20)
    ops = torch.ops.pseudolidar
    opcheck(ops.furthest_point_sample.default, (points, 5))
    opcheck(ops.ball_query.default, (points, points[:, :7], 0.25, 5))
    opcheck(ops.three_nearest.default, (points, points[:, :7]))


def test_bad_arguments() -> None:
    points = torch.zeros(2, 4, 3)
    with pytest.raises(ValueError, match=r"points: found shape \(2, 4\), expected \(B, N, 3\)"):
        furthest_point_sample(points[..., 0], 1)
    with pytest.raises(ValueError, match=r"points: found torch.float64, expected torch.float32"):
        furthest_point_sample(points.double(), 1)
    with pytest.raises(ValueError, match=r"points: found shape \(2, 0, 3\), expected at least one point"):
        furthest_point_sample(points[:, :0], 1)
    with pytest.raises(ValueError, match="count: found 0, expected at least 1"):
        furthest_point_sample(points, 0)
    with pytest.raises(ValueError, match="count: found 0, expected at least 1"):
        ball_query(points, points, 1.0, 0)
    with pytest.raises(ValueError, match="radius: found nan, expected a positive number of metres"):
        ball_query(points, points, float("nan"), 1)
    with pytest.raises(ValueError, match="centres: found 1 scenes, expected 2"):
        ball_query(points, points[:1], 1.0, 1)
    with pytest.raises(ValueError, match="known: found a tensor on meta, expected one on cpu"):
        three_nearest(points, points.to("meta"))
