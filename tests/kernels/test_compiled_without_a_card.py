"""CUDA kernels compiled for an H100, which need not be there: the simulator takes what the compiler does not."""

from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from pseudolidar.kernels import cuda as kernels

BOXES, FRAMES, MASKS = torch.zeros(2, 3, 7).double(), torch.zeros(2, 3, 8), torch.zeros(2, 3, 1).long()
POINTS, INDEX, NUMBER = torch.zeros(2, 5, 3), torch.zeros(2, 4).long(), torch.zeros(2).long()

KERNELS: dict[str, tuple[kernels.Argument, ...]] = {
    "sampling_cuda._sample": (POINTS, POINTS.mT.contiguous(), torch.zeros(2, 5), torch.zeros(2, 5).int(), 1, INDEX),
    "boxes_cuda._mask_axis_aligned": (BOXES, NUMBER, 0.5, MASKS, 6),
    "boxes_cuda._mask_rotated": (BOXES, NUMBER, 0.5, MASKS, 6),
    "boxes_cuda._keep": (MASKS, NUMBER, INDEX, INDEX),
    "boxes_cuda._fill_iou": (BOXES[0], BOXES[0], True, BOXES[0], 9),
    "boxes_cuda._mask_points": (POINTS, FRAMES, MASKS, 6),
    "boxes_cuda._collect": (MASKS, MASKS, INDEX),
    "boxes_cuda._label": (POINTS, FRAMES, INDEX, 10),
    "point_sets_cuda._balls": (POINTS, POINTS, 1.0, torch.zeros(1, 2, 3, 4).long(), MASKS, 6),
    "point_sets_cuda._three": (POINTS, POINTS, POINTS, MASKS, 10),
}


@pytest.mark.parametrize("name", KERNELS)
def test_it_compiles(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = assembly_of(name, monkeypatch)
    assert ".entry" in assembly and ".target sm_90" in assembly
    # Nothing is rounded once where a processor rounds twice.
    assert name.endswith(("_rotated", "_iou")) or "fma.rn.f" not in assembly


def test_warps_compare_by_one_instruction(monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = assembly_of("sampling_cuda._sample", monkeypatch)
    assert assembly.count("redux.sync.max.s32") == 7 and assembly.count("bar.sync") == 1


def assembly_of(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    signature = tuple(kernels._numba_type(argument) for argument in KERNELS[name])
    try:
        # What kernels call is compiled for the card that is there.
        card = SimpleNamespace(compute_capability=(9, 0))
        monkeypatch.setattr(import_module("numba.cuda.dispatcher"), "get_current_device", lambda: card)
        module, kernel = name.split(".")
        function = getattr(import_module(f"pseudolidar.ops.{module}"), kernel).py_func
        return str(kernels.cuda.compile_ptx(function, signature, cc=(9, 0))[0])
    except Exception as error:
        # numba-cuda 0.30 compiles nothing under NumPy 2.5: it asks for functions that NumPy no longer has.
        if any(word in str(error) for word in ("NVVM", "libdevice", "module 'numpy' has no attribute")):
            pytest.skip(f"no compiler for CUDA: {error}")
        raise
