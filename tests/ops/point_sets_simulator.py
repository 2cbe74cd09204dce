"""The CUDA kernels on point sets in numba's simulator, to the last bit; `test_point_sets_cuda.py` runs this file.

The simulator is chosen for a whole process by NUMBA_ENABLE_CUDASIM=1, before numba is imported.
"""

from collections import defaultdict
from collections.abc import Hashable
from threading import Barrier, Lock, current_thread
from typing import Any

import numba
import pytest
import torch
from torch import Tensor

from pseudolidar.ops import point_sets_cuda as gpu
from pseudolidar.ops import point_sets_reference as reference
from pseudolidar.ops import sampling_cuda as sampling
from tests.kernels.waiting import WithoutWaiting
from tests.ops.clouds import ADVERSARIAL, adversarial_cloud, random_cloud

pytestmark = [
    pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning"),
    # numpy's warnings where a kernel runs as Python: overflow and NaN are wanted here.
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def assert_same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_this_is_the_simulator() -> None:
    assert numba.config.ENABLE_CUDASIM


@pytest.mark.parametrize("kind", ["random", "equal", "two", "first not finite", "huge"])
def test_searches(kind: str) -> None:
    points = random_cloud(0, 2, 40) if kind == "random" else adversarial_cloud(kind, 12)
    # More than there are, where there are few.
    count = 5 if kind == "random" else 14
    expected = reference.furthest_point_sample(points, count)
    assert torch.equal(sampling.furthest_point_sample(points, count), expected)
    centres = points[:, :7].contiguous()
    assert_same(gpu.ball_query(points, centres, 100.0, 4), reference.ball_query(points, centres, 100.0, 4))
    assert_same(gpu.three_nearest(centres, points), reference.three_nearest(centres, points))


class Warps:
    """Warps of several of the simulator's threads, each of which waits for the others of its warp."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.values: defaultdict[Hashable, list[int]] = defaultdict(lambda: [0] * lanes)
        self.barriers: defaultdict[Hashable, Barrier] = defaultdict(lambda: Barrier(lanes, timeout=60))
        self.lock = Lock()

    def exchange(self, value: int = 0) -> list[int]:
        # The simulator's threads know where they are.
        thread: Any = current_thread()
        warp, lane = divmod(thread.threadIdx.x, self.lanes)
        with self.lock:
            values, barrier = self.values[thread.blockIdx.x, warp], self.barriers[thread.blockIdx.x, warp]
        values[lane] = value
        barrier.wait()
        known = list(values)
        barrier.wait()
        return known

    def ballot(self, is_so: bool) -> int:
        return sum(int(so) << lane for lane, so in enumerate(self.exchange(bool(is_so))))

    def max(self, value: int) -> int:
        return max(self.exchange(value))


@pytest.mark.parametrize("kind", ["random", *ADVERSARIAL])
@pytest.mark.parametrize(("lanes", "warps"), [(1, 4), (3, 1), (4, 3)])
def test_sampling_by_warps(kind: str, lanes: int, warps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sample_by_warps(lanes, monkeypatch)
    # Few points for the lanes there are, and several rounds.
    for count in (5, 47, 130):
        points = random_cloud(count, 2, count) if kind == "random" else adversarial_cloud(kind, 400)[:, :count]
        # More than there are, where there are few.
        expected = reference.furthest_point_sample(points, 8)
        with WithoutWaiting():
            found = sampling.sample(points, 8, warps)
        assert torch.equal(found, expected)


def test_sampling_by_whole_warps(monkeypatch: pytest.MonkeyPatch) -> None:
    sample_by_warps(32, monkeypatch)
    points = random_cloud(0, 1, 700)
    points[:, 300:600] = (points[:, 300:600] / 8).round()
    assert torch.equal(sampling.sample(points, 16, 2), reference.furthest_point_sample(points, 16))


def sample_by_warps(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    of_threads = Warps(lanes)
    for name, value in {
        "LANES": lanes,
        "warp_ballot": of_threads.ballot,
        "warp_max": of_threads.max,
        "wait_for_warp": of_threads.exchange,
    }.items():
        monkeypatch.setattr(sampling, name, value)


def test_balls_of_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SMALLEST_PART", 8)
    points = random_cloud(3, 1, 45)
    centres = points[:, :5].contiguous()
    for count in (1, 4, 60):
        assert_same(gpu.ball_query(points, centres, 400.0, count), reference.ball_query(points, centres, 400.0, count))


def test_too_few_to_search() -> None:
    points = random_cloud(0, 1, 3)
    nothing = points[:, :0].contiguous()
    assert_same(gpu.ball_query(nothing, points, 1.0, 2), reference.ball_query(nothing, points, 1.0, 2))
    assert_same(gpu.ball_query(points, nothing, 1.0, 2), reference.ball_query(points, nothing, 1.0, 2))
    assert_same(gpu.three_nearest(points, nothing), reference.three_nearest(points, nothing))
    two = points[:, :2].contiguous()
    assert_same(gpu.three_nearest(points, two), reference.three_nearest(points, two))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_segment_max(dtype: torch.dtype) -> None:
    rows = torch.randn((30, 5), generator=torch.Generator().manual_seed(0)).round(decimals=1).to(dtype)
    rows[3:5, 1] = torch.nan
    rows[8, 2] = -torch.inf
    # As in training.
    rows.requires_grad_()
    starts = torch.tensor([0, 3, 8, 9, 9, 26])
    maxima, first = gpu.segment_max(rows, starts)
    expected, expected_first = reference.segment_max(rows, starts)
    assert torch.equal(first, expected_first)
    torch.testing.assert_close(maxima, expected, rtol=0, atol=0, equal_nan=True)
