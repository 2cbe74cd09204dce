"""The images' health command: python docker/check.py cpu|cuda says in one line whether the installation works."""

import argparse
import sys

import numpy as np
import torch

from pseudolidar.cloud import disparity_to_points
from pseudolidar.kernels.cuda import cuda_kernels_run
from pseudolidar.kitti import CANONICAL_VELO_TO_CAM, Calibration


def main() -> int:
    """Check what the argument names, print what was found, return the exit status: 0, or 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", choices=["cpu", "cuda"], help="cuda also wants a GPU and the compiler of its kernels")
    image = parser.parse_args().image
    try:
        found = check_processor()
        if image == "cuda":
            found += f"; {check_gpu()}"
    except RuntimeError as error:
        print(f"broken: {error}", file=sys.stderr)
        return 1
    print(f"works: {found}")
    return 0


def check_processor() -> str:
    """Run the processor's kernel that makes point clouds, on a map whose points are known.

    Returns:
        What works, for people.

    Raises:
        RuntimeError: other points came out.
    """
    # 100 px x 0.5 m: a disparity of 5 px is 10 m away.
    left = np.array([[100.0, 0, 4, 0], [0, 100, 2, 0], [0, 0, 1, 0]])
    right = left - np.array([[0, 0, 0, 50.0], [0, 0, 0, 0], [0, 0, 0, 0]])
    calibration = Calibration(left, right, np.eye(3), CANONICAL_VELO_TO_CAM)
    points = disparity_to_points(torch.full((4, 8), 5.0), calibration)
    if points.shape != (32, 4) or not torch.all(points[:, 0] == 10):
        raise RuntimeError(f"a map of 4 x 8 pixels, 10 m away, became {tuple(points.shape)} points: {points.tolist()}")
    return f"PyTorch {torch.__version__}, kernels on the processor"


def check_gpu() -> str:
    """See a GPU and the compiler for it, and take nothing of its memory: a training may need all of it.

    Returns:
        What works, for people.

    Raises:
        RuntimeError: there is no GPU, or no compiler.
    """
    if not torch.cuda.is_available():
        raise RuntimeError(
            "PyTorch sees no GPU: the container needs `--gpus all`, the host the NVIDIA Container Toolkit and a driver "
            f"for CUDA {torch.version.cuda}"
        )
    if not cuda_kernels_run():
        raise RuntimeError("numba finds no compiler for the GPU: install the project's extra `cuda`")
    return f"{torch.cuda.device_count()} GPU(s) and the compiler of their kernels"


if __name__ == "__main__":
    sys.exit(main())
