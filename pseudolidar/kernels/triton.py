"""Whether Triton, which comes with PyTorch on Linux, can compile kernels for this machine's GPU."""

import functools
import importlib
import subprocess
import warnings

import torch


@functools.cache
def triton_kernels_run() -> bool:
    """Compile and run a small kernel: that takes a GPU of compute capability 7.5, a C compiler and Python's headers.

    Warns once where PyTorch has a GPU and Triton can't use it.
    """
    if not torch.cuda.is_available():
        return False
    try:
        importlib.import_module("pseudolidar.kernels.triton_probe").probe()
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        warnings.warn(f"Triton's kernels can't be compiled, plain PyTorch takes their place: {error}", stacklevel=2)
        return False
    return True
