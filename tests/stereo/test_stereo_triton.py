"""Triton's kernels of PSMNet: the interpreter finds what the references find, the compiler makes code for a card."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def triton() -> None:
    pytest.importorskip("triton", reason="Triton comes with PyTorch on Linux")


def test_kernels_in_the_interpreter() -> None:
    # A process of its own: the interpreter takes the compiler's place for a whole process.
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "tests/stereo/triton_interpreter.py",
        ],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_kernels_compile_for_an_h100() -> None:
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pseudolidar.stereo import regression_triton, volume_triton

    tables = dict.fromkeys(("first", "rows", "columns"), "*i32")
    sizes = dict.fromkeys(("levels", "height", "width", "full_height", "full_width"), "i32")
    of_pixels = {"PIXELS": 128}
    of_volume = {"PIXELS": 32, "CHANNELS": 32, "CHANNEL_BLOCK": 32}
    for kernel, constants, values in (
        (regression_triton._regress, of_pixels, "*fp32"),
        (regression_triton._levels_gradient, of_pixels, "*fp32"),
        (volume_triton._assemble, of_volume, "*fp16"),
    ):
        types = {**tables, **sizes, **dict.fromkeys(constants, "constexpr")}
        signature = {name: types.get(name, values) for name in kernel.arg_names}
        given = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
        code = compiled(ASTSource(kernel, signature, given), target=GPUTarget("cuda", 90, 32)).asm
        # No register is spilt.
        assert code["cubin"] and "ld.local" not in code["ptx"]
