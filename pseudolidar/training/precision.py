"""Where and how a run computes: device, float32 or bfloat16 mixed precision, processor threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from pseudolidar.files import InputError

Arithmetic = Literal["float32", "bfloat16"]
Precision = Literal["float32", "bfloat16", "auto"]


def arithmetic_of(precision: Precision, device: str | torch.device) -> Arithmetic:
    """The arithmetic that `precision` means on a device.

    `auto` is bfloat16 where the device computes it natively, float32 elsewhere: a processor without such instructions
    takes many times longer in bfloat16 than in float32.

    Raises:
        InputError: an unknown precision.
    """
    if precision == "auto":
        return "bfloat16" if _has_bfloat16(torch.device(device)) else "float32"
    if precision not in ("float32", "bfloat16"):
        raise InputError(f"precision: found {precision!r}, expected 'float32', 'bfloat16' or 'auto'")
    return precision


def require_device(device: str | torch.device) -> torch.device:
    """The device, if PyTorch can compute there.

    Raises:
        InputError: no such device, or none of its kind on this machine.
    """
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device: found {str(device)!r}, expected 'cpu', or 'cuda' where there is a GPU") from error


@contextmanager
def arithmetic_threads(count: int | None) -> Iterator[None]:
    """PyTorch computes with `count` threads inside, as before afterwards; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
