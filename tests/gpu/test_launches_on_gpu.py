"""Kernels launched by the driver and by numba-cuda's public interface, on every stream: the same numbers."""

import warnings

import pytest
import torch

from pseudolidar.kernels import cuda as kernels


def test_the_self_test_passes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kernels.cuda_kernels_run() and kernels._arguments_are_laid_out_as_known()


@pytest.mark.filterwarnings("ignore::numba.core.errors.NumbaPerformanceWarning")
@pytest.mark.parametrize("own_stream", [False, True])
def test_both_ways_compute_the_same(own_stream: bool) -> None:
    with torch.cuda.stream(torch.cuda.Stream() if own_stream else torch.cuda.default_stream()):
        table = torch.rand(40, 2, dtype=torch.float64, device="cuda", requires_grad=True)
        marks = torch.arange(40, dtype=torch.uint8, device="cuda")
        found = []
        for launch in (kernels._launch_by_driver, kernels._launch_by_numba):
            found.append(torch.zeros(40, device="cuda"))
            launch(kernels._probe, 2, 32, (table, marks, (0.5, 0.25), 1.5, 7, True, found[-1]))
        torch.cuda.synchronize()
    assert torch.equal(found[0], found[1]) and found[0].min() >= 7
