"""The public names of `pseudolidar.ops`: all there, and imported only when asked for."""

import subprocess
import sys

import pytest

from pseudolidar import ops


def test_every_name() -> None:
    for name in ops.__all__:
        assert getattr(ops, name).__name__ == name
    assert set(ops.__all__) <= set(dir(ops))
    with pytest.raises(AttributeError, match="no attribute 'median'"):
        _ = ops.median


def test_overlaps_of_the_evaluation_need_no_pytorch() -> None:
    program = "import sys, pseudolidar.evaluation, pseudolidar.ops.box_geometry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0
