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
        timeout=240,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_kernels_compile_for_an_h100() -> None:
    from triton import compile as compiled
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from pseudolidar.stereo import regression_triton

    integers = {"first": "*i32", "rows": "*i32", "columns": "*i32"}
    sizes = {"levels", "height", "width", "full_height", "full_width"}
    for kernel in (regression_triton._regress, regression_triton._levels_gradient):
        signature = {
            name: integers.get(name, "i32" if name in sizes else "constexpr" if name == "PIXELS" else "*fp32")
            for name in kernel.arg_names
        }
        source = ASTSource(kernel, signature, {(kernel.arg_names.index("PIXELS"),): 128})
        code = compiled(source, target=GPUTarget("cuda", 90, 32)).asm
        # No register is spilt.
        assert code["cubin"] and "ld.local" not in code["ptx"]
