"""The smallest of Triton's kernels, to see whether any can run; imported where Triton is installed."""

import torch
import triton
import triton.language as tl


def probe() -> None:
    """RuntimeError, or whatever Triton raises, where a kernel can't be compiled or gives a wrong result."""
    number = torch.ones(1, device="cuda")
    _double[1,](number)
    if number.item() != 2:
        raise RuntimeError(f"found {number.item()}, expected 2")


@triton.jit
def _double(number):  # type: ignore[no-untyped-def]
    tl.store(number, 2 * tl.load(number))
