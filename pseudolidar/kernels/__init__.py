"""How kernels run: compiled by numba for the processor's threads, and (`kernels.cuda`) for NVIDIA GPUs."""

from pseudolidar.kernels.cpu import cpu_kernel, in_chunks

__all__ = ["cpu_kernel", "in_chunks"]
