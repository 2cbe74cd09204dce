"""Grouping, interpolation, maxima of segments: values, gradients, types, threads; the kernels against plain PyTorch."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.library import opcheck

from pseudolidar.ops import group, grouping_cpu, interpolate, segment_max
from pseudolidar.ops import point_sets_reference as reference

SMALL = (torch.bfloat16, torch.float16)


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def numbers(seed: int, most: int, *shape: int) -> Tensor:
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(seed))


def random_starts(seed: int, rows: int, segments: int) -> Tensor:
    """Some segments are empty; some rows are in none."""
    return numbers(seed, rows + 1, segments + 1).sort().values


@settings(deadline=None, max_examples=10)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(0, 4),
    points=st.sampled_from([1, 7, 400]),
    channels=st.sampled_from([1, 3, 130]),
    threads=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.float64, *SMALL]),
)
def test_kernels_equal_the_reference(
    seed: int, scenes: int, points: int, channels: int, threads: int, dtype: torch.dtype
) -> None:
    features = normal(seed, scenes, points, channels, dtype=dtype)
    index = numbers(seed, points, scenes, 500, 3)
    # Weights may be of another type than the features.
    weight = normal(seed, scenes, 500, 3, dtype=torch.bfloat16 if dtype in SMALL else torch.float32)
    flat = index.flatten(1)
    rows = reference.group(features, flat)
    assert torch.equal(grouping_cpu.group(features, flat), rows)
    sums = reference.interpolate(features, index, weight)
    torch.testing.assert_close(grouping_cpu.interpolate(features, index, weight, threads), sums)
    # In whatever order they are summed.
    tolerance = 2e-2 if dtype in SMALL else 1e-4
    torch.testing.assert_close(
        grouping_cpu.group_backward(rows, flat, points, threads),
        reference.group_backward(rows, flat, points),
        rtol=tolerance,
        atol=tolerance,
    )
    torch.testing.assert_close(
        grouping_cpu.interpolate_backward(sums, index, weight, points, threads),
        reference.interpolate_backward(sums, index, weight, points),
        rtol=tolerance,
        atol=tolerance,
    )
    rows = rows.flatten(0, 1)
    starts = random_starts(seed, len(rows), 60)
    maxima, first = reference.segment_max(rows, starts)
    for ours, theirs in zip(grouping_cpu.segment_max(rows, starts, threads), (maxima, first), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(
        grouping_cpu.segment_max_backward(maxima, first, len(rows), threads),
        reference.segment_max_backward(maxima, first, len(rows)),
    )


def test_any_number_of_threads_gives_the_same_bits() -> None:
    gradient, index = normal(0, 2, 3000, 37), numbers(1, 50, 2, 3000)
    one = grouping_cpu.group_backward(gradient, index, 50, threads=1)
    for threads in (2, 3, 4):
        assert torch.equal(grouping_cpu.group_backward(gradient, index, 50, threads), one)


def test_values() -> None:
    features = torch.tensor([[[1.0, 10], [2, 20], [3, 30]], [[4, 40], [5, 50], [6, 60]]])
    index = torch.tensor([[[2, 0], [1, 1]], [[0, 0], [0, 2]]])
    assert group(features, index).tolist() == [
        [[[3, 30], [1, 10]], [[2, 20], [2, 20]]],
        [[[4, 40], [4, 40]], [[4, 40], [6, 60]]],
    ]
    assert group(features, index[:, :1, 0]).tolist() == [[[3, 30]], [[4, 40]]]
    weight = torch.tensor([[[0.5, 0.25, 0.25]], [[1, 0, 0]]])
    assert interpolate(features, torch.tensor([[[0, 1, 2]], [[1, 0, 0]]]), weight).tolist() == [
        [[1.75, 17.5]],
        [[5, 50]],
    ]
    rows = torch.tensor([[1.0, 9], [3, 9], [2, -1], [-4, -torch.inf]])
    assert segment_max(rows, torch.tensor([0, 3, 3, 4])).tolist() == [[3, 9], [0, 0], [-4, -torch.inf]]
    assert segment_max(rows[:0], torch.tensor([0, 0])).tolist() == [[0, 0]]


def test_the_gradient_goes_to_the_first_maximum() -> None:
    rows = torch.tensor([[1.0, 9], [3, 9], [3, -1], [7, 7]], requires_grad=True)
    segment_max(rows, torch.tensor([0, 3, 3])).backward(torch.tensor([[10.0, 20], [30, 40]]))
    assert rows.grad is not None
    assert rows.grad.tolist() == [[0, 20], [10, 0], [0, 0], [0, 0]]


def test_nan_reaches_the_maximum() -> None:
    rows = torch.tensor([[1.0, torch.nan], [torch.nan, 5], [3, torch.nan]], requires_grad=True)
    maxima = segment_max(rows, torch.tensor([0, 3]))
    assert maxima.isnan().all()
    maxima.sum().backward()
    assert rows.grad is not None and rows.grad.tolist() == [[0, 1], [1, 0], [0, 0]]


def test_gradients_and_custom_operators() -> None:
    features = normal(0, 2, 9, 4, dtype=torch.float64).requires_grad_()
    weight = normal(1, 2, 6, 3, dtype=torch.float64).requires_grad_()
    index, starts = numbers(2, 9, 2, 6, 3), torch.tensor([0, 3, 3, 10, 17])
    rows = normal(3, 18, 4, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda features: group(features, index), (features,))
    assert gradcheck(lambda features, weight: interpolate(features, index, weight), (features, weight))
    assert gradcheck(lambda rows: segment_max(rows, starts), (rows,))
    ops = torch.ops.pseudolidar
    opcheck(ops.group.default, (features, index.flatten(1)))
    opcheck(ops.interpolate.default, (features, index, weight))
    opcheck(ops.segment_max.default, (rows, starts))
    opcheck(ops.group_backward.default, (normal(4, 2, 18, 4), index.flatten(1), 9))
    opcheck(ops.interpolate_backward.default, (normal(4, 2, 6, 4), index, weight.detach(), 9))
    opcheck(ops.segment_max_backward.default, (normal(4, 4, 4), numbers(5, 18, 4, 4), 18))


@pytest.mark.parametrize("dtype", SMALL)
def test_small_floats_are_summed_in_float32(dtype: torch.dtype) -> None:
    # 4096 ones: a sum of their own type would stick at 256 or 2048.
    features = torch.ones(1, 1, 1, dtype=dtype, requires_grad=True)
    rows = group(features, torch.zeros(1, 4096, dtype=torch.int64))
    assert rows.dtype == dtype
    rows.sum().backward()
    assert features.grad is not None and features.grad.dtype == dtype and features.grad.item() == 4096
    weight = torch.full((1, 1, 3), 1 / 3, requires_grad=True)
    sums = interpolate(features, torch.zeros(1, 1, 3, dtype=torch.int64), weight)
    assert sums.dtype == dtype and sums.item() == 1
    sums.sum().backward()
    assert weight.grad is not None and weight.grad.dtype == torch.float32


def test_bad_arguments() -> None:
    features, index = torch.zeros(2, 4, 5), torch.zeros(2, 3, 3, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"features: found shape \(4, 5\), expected \(B, N, C\)"):
        group(features[0], index)
    with pytest.raises(ValueError, match=r"index: found torch.int32, expected torch.int64"):
        group(features, index.int())
    with pytest.raises(ValueError, match="index: found 0 to 4, expected 0 to 3"):
        group(features, torch.tensor([[0, 1], [4, 3]]))
    with pytest.raises(ValueError, match="index: found -1 to 3, expected 0 to 3"):
        interpolate(features, torch.tensor([[[0, 1, -1]], [[1, 2, 3]]]), torch.zeros(2, 1, 3))
    with pytest.raises(ValueError, match="index: found 1 scenes, expected 2"):
        group(features, index[:1])
    with pytest.raises(ValueError, match=r"weight: found shape \(2, 4, 3\), expected \(B, 3, 3\)"):
        interpolate(features, index, torch.zeros(2, 4, 3))
    with pytest.raises(ValueError, match=r"weight: found torch.int64, expected a floating type"):
        interpolate(features, index, index)
    with pytest.raises(ValueError, match="starts: found 0 to 5, expected ascending numbers from 0 to 4"):
        segment_max(features[0], torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="starts: found 0 to 4, not ascending"):
        segment_max(features[0], torch.tensor([0, 3, 2, 4]))
    with pytest.raises(ValueError, match=r"starts: found shape \(0,\), expected \(S \+ 1,\)"):
        segment_max(features[0], torch.zeros(0, dtype=torch.int64))
