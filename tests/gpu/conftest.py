"""Tests in this folder run on an NVIDIA GPU, or not at all."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def gpu() -> Iterator[None]:
    """Skip without a GPU; give its memory back afterwards, and fail where a kernel left an error behind."""
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no NVIDIA GPU")
    yield
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
