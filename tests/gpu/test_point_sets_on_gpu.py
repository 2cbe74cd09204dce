"""Point sets on the GPU: the kernels to the last bit; types, gradients, streams, threads, sizes beyond int32."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.library import opcheck

from pseudolidar.ops import ball_query, furthest_point_sample, group, interpolate, segment_max, three_nearest
from tests.ops.clouds import ADVERSARIAL, adversarial_cloud, random_cloud
from tests.ops.test_grouping import SMALL, normal, numbers, random_starts


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.is_cuda and ours.dtype == theirs.dtype
        assert torch.equal(ours.cpu(), theirs.cpu())


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(0, 4),
    count=st.sampled_from([1, 31, 64, 65, 513, 1025, 3000]),
    radius=st.floats(0.01, 100),
)
def test_searches(seed: int, scenes: int, count: int, radius: float) -> None:
    points, queries = random_cloud(seed, scenes, count), random_cloud(seed + 1, scenes, 900)
    on_gpu, queries_on_gpu = points.cuda(), queries.cuda()
    for chosen in (1, 40):
        assert_same((furthest_point_sample(on_gpu, chosen),), (furthest_point_sample(points, chosen),))
    assert_same(ball_query(on_gpu, queries_on_gpu, radius, 16), ball_query(points, queries, radius, 16))
    assert_same(three_nearest(queries_on_gpu, on_gpu), three_nearest(queries, points))


@pytest.mark.parametrize("count", [4096, 16_384, 16_385, 40_000, 70_000])
def test_scenes_as_large_as_they_come(count: int) -> None:
    points = random_cloud(7, 2, count)
    chosen = furthest_point_sample(points, 600)
    assert_same((furthest_point_sample(points.cuda(), 600),), (chosen,))
    centres = points[:, chosen[0]]
    assert_same(ball_query(points.cuda(), centres.cuda(), 0.5, 32), ball_query(points, centres, 0.5, 32))
    assert_same(three_nearest(points.cuda(), centres.cuda()), three_nearest(points, centres))


@pytest.mark.parametrize("warps", [1, 3, 8, 16, 32])
@pytest.mark.parametrize("count", [33, 512, 700, 16_384, 20_000])
def test_sampling_by_any_number_of_warps(warps: int, count: int) -> None:
    from pseudolidar.ops.sampling_cuda import _samples_as_the_processor, sample

    assert _samples_as_the_processor()
    points = random_cloud(count, 2, count)
    # Many are equally far.
    points[1] = (points[1] / 2).round()
    assert_same((sample(points.cuda(), 300, warps),), (furthest_point_sample(points, 300),))


@pytest.mark.parametrize("kind", ADVERSARIAL)
def test_adversarial_clouds(kind: str) -> None:
    points = adversarial_cloud(kind)
    count, on_gpu = points.shape[1] + 5, points.cuda()
    assert_same((furthest_point_sample(on_gpu, count),), (furthest_point_sample(points, count),))
    for radius in (0.5, 5.0, 1e18):
        assert_same(ball_query(on_gpu, on_gpu, radius, 7), ball_query(points, points, radius, 7))
    assert_same(three_nearest(on_gpu, on_gpu), three_nearest(points, points))
    assert_same(three_nearest(on_gpu, on_gpu[:, :1]), three_nearest(points, points[:, :1]))


def test_nothing_to_search() -> None:
    points = random_cloud(0, 1, 5)
    on_gpu, nothing = points.cuda(), points[:, :0].cuda()
    assert_same(ball_query(nothing, on_gpu, 1.0, 4), ball_query(points[:, :0], points, 1.0, 4))
    assert_same(ball_query(on_gpu, nothing, 1.0, 4), ball_query(points, points[:, :0], 1.0, 4))
    assert_same(three_nearest(on_gpu, nothing), three_nearest(points, points[:, :0]))
    assert_same(three_nearest(nothing, on_gpu), three_nearest(points[:, :0], points))


def test_any_strides() -> None:
    points = random_cloud(0, 2, 600).cuda()
    strided = points.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    assert_same((furthest_point_sample(strided, 9),), (furthest_point_sample(points, 9),))
    assert_same(ball_query(strided, strided, 1.0, 3), ball_query(points, points, 1.0, 3))
    assert_same(three_nearest(strided, strided), three_nearest(points, points))


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    scenes=st.integers(1, 4),
    points=st.sampled_from([1, 7, 400]),
    channels=st.sampled_from([1, 3, 130]),
    dtype=st.sampled_from([torch.float32, torch.float64, *SMALL]),
)
def test_rows(seed: int, scenes: int, points: int, channels: int, dtype: torch.dtype) -> None:
    features = normal(seed, scenes, points, channels, dtype=dtype)
    index = numbers(seed, points, scenes, 500, 3)
    weight = normal(seed, scenes, 500, 3, dtype=torch.bfloat16 if dtype in SMALL else torch.float32)
    tolerance = 2e-2 if dtype in SMALL else 1e-4
    found: list[Tensor] = []
    expected: list[Tensor] = []
    for device, results in (("cuda", found), ("cpu", expected)):
        own = features.detach().to(device).requires_grad_()
        own_weight = weight.detach().to(device).requires_grad_()
        rows = group(own, index.to(device))
        sums = interpolate(own, index.to(device), own_weight)
        starts = random_starts(seed, scenes * 500, 60).to(device)
        maxima = segment_max(sums.flatten(0, 1), starts)
        loss = rows.float().square().sum() + sums.float().square().sum() + maxima.float().sum()
        results += [rows, sums, *torch.autograd.grad(loss, (own, own_weight))]
    assert torch.equal(found[0].cpu(), expected[0])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        assert ours.dtype == theirs.dtype
        scale = float(theirs.detach().abs().max().clamp(min=1))
        torch.testing.assert_close(ours.cpu() / scale, theirs / scale, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *SMALL])
def test_maxima_of_segments(dtype: torch.dtype) -> None:
    rows = normal(0, 3000, 37).round(decimals=1).to(dtype)
    rows[3:5, 1] = torch.nan
    rows[8, 2] = -torch.inf
    starts = random_starts(1, 3000, 200)
    found, expected = (rows.to(device).requires_grad_() for device in ("cuda", "cpu"))
    maxima, theirs = segment_max(found, starts.cuda()), segment_max(expected, starts)
    torch.testing.assert_close(maxima.cpu(), theirs, rtol=0, atol=0, equal_nan=True)
    gradient = normal(2, *maxima.shape).to(dtype)
    maxima.backward(gradient.cuda())
    theirs.backward(gradient)
    assert found.grad is not None and expected.grad is not None
    assert torch.equal(found.grad.cpu(), expected.grad)


def test_gradients_and_custom_operators() -> None:
    features = normal(0, 2, 9, 4, dtype=torch.float64).cuda().requires_grad_()
    weight = normal(1, 2, 6, 3, dtype=torch.float64).cuda().requires_grad_()
    index, starts = numbers(2, 9, 2, 6, 3).cuda(), torch.tensor([0, 3, 3, 10, 17]).cuda()
    rows = normal(3, 18, 4, dtype=torch.float64).cuda().requires_grad_()
    # Sums come in any order on a GPU.
    assert gradcheck(lambda features: group(features, index), (features,), nondet_tol=1e-9)
    assert gradcheck(lambda features, weight: interpolate(features, index, weight), (features, weight), nondet_tol=1e-9)
    assert gradcheck(lambda rows: segment_max(rows, starts), (rows,))
    ops, points = torch.ops.pseudolidar, random_cloud(0, 2, 20).cuda()
    opcheck(ops.group.default, (features, index.flatten(1)))
    opcheck(ops.interpolate.default, (features, index, weight))
    opcheck(ops.segment_max.default, (rows, starts))
    opcheck(ops.furthest_point_sample.default, (points, 5))
    opcheck(ops.ball_query.default, (points, points[:, :7], 0.25, 5))
    opcheck(ops.three_nearest.default, (points, points[:, :7]))


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "furthest_point_sample": lambda points: furthest_point_sample(points, 50),
    "ball_query": lambda points: ball_query(points, points[:, :90], 2.0, 8)[0],
    "three_nearest": lambda points: three_nearest(points, points[:, :90])[1],
    "segment_max": lambda points: segment_max(points[0], torch.arange(0, 601, 5, device=points.device)),
}


@pytest.mark.parametrize("name", CALLS)
def test_on_a_stream_of_its_own(name: str) -> None:
    points = random_cloud(2, 1, 600)
    expected = CALLS[name](points)
    CALLS[name](points.cuda())  # compiled
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        late = torch.zeros_like(points, device="cuda")
        # The points arrive 50 ms from now: a kernel on any other stream would find zeros.
        torch.cuda._sleep(100_000_000)
        late.copy_(points.cuda(non_blocking=True))
        found = CALLS[name](late)
    stream.synchronize()
    assert torch.equal(found.cpu(), expected)


def test_many_callers_at_once() -> None:
    clouds = [random_cloud(seed, 1, 600) for seed in range(8)]
    expected = [CALLS["furthest_point_sample"](cloud) for cloud in clouds]

    def call(number: int) -> bool:
        with torch.cuda.stream(torch.cuda.Stream()):
            found = CALLS["furthest_point_sample"](clouds[number % 8].cuda())
            return torch.equal(found.cpu(), expected[number % 8])

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(call, range(40)))


def test_more_numbers_than_an_int32_counts() -> None:
    # Maxima: 2^25 + 5 rows of 64.
    rows = torch.zeros(2**25 + 5, 64, device="cuda")
    rows[-3:] = torch.arange(192.0, device="cuda").view(3, 64)
    maxima = segment_max(rows, torch.tensor([2**25, 2**25 + 1, 2**25 + 5], device="cuda"))
    assert not maxima[0].any() and torch.equal(maxima[1], rows[-1])
    assert torch.equal(group(rows[None], torch.tensor([[2**25 + 4]], device="cuda"))[0, 0], rows[-1])
    del rows
    # Neighbours: 32 of 2^26 + 3 centres.
    points, centres = torch.zeros(1, 2, 3, device="cuda"), torch.ones(1, 2**26 + 3, 3, device="cuda")
    points[0, 1] = 1
    index, found = ball_query(points, centres, 0.5, 32)
    assert index.numel() > 2**31
    assert bool((index[0, -1] == 1).all()) and int(found.min()) == 1
