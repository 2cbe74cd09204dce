"""The baseline of the benchmark psmnet is the network itself; bad settings are named."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pseudolidar.benchmarks.psmnet import PlainPSMNet, ordinary_pages
from pseudolidar.stereo import PSMNet

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


@pytest.mark.parametrize("align_corners", [False, True])
def test_the_baseline_is_the_same_network(align_corners: bool) -> None:
    torch.manual_seed(0)
    model = PSMNet(32, align_corners, width=4, pool_sizes=(4, 2), hourglasses=2, blocks=(1, 1, 1, 1)).eval()
    for index in (1, 2):
        model.get_parameter(f"classif{index}.2.weight").data.mul_(0.1)
    left, right = torch.randn(2, 1, 3, 32, 64)
    with torch.inference_mode():
        torch.testing.assert_close(PlainPSMNet(model)(left, right), model(left, right), rtol=0, atol=1e-3)


def test_memory_is_there_in_ordinary_pages_too() -> None:
    with ordinary_pages():
        assert torch.ones(1 << 22).sum() == 1 << 22


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["colour=red"], "error: setting: found 'colour', expected one of weights, align_corners, left, right"),
        (["left=left.png"], "error: expected left=FILE and right=FILE, or neither"),
        (["weights=none.pt"], "error: none.pt: "),
    ],
)
def test_bad_settings_are_named(settings: list[str], message: str) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "psmnet", *settings], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
