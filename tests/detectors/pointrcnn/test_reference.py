"""The network against outputs of the published code for fixed weights."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNOutput


@pytest.fixture(scope="module")
def filled(reference_dir: Path) -> PointRCNN:
    """The published car model with the reference's weights."""
    spec = importlib.util.spec_from_file_location("fill_weights", reference_dir / "fill_weights.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = PointRCNN()
    module.fill_weights(model, 2.0)
    return model.eval()


@pytest.fixture(scope="module")
def points(reference_dir: Path) -> torch.Tensor:
    """float32 (1, 16384, 3)."""
    with np.load(reference_dir / "pointrcnn_dev.npz") as reference:
        return torch.from_numpy(reference["points"])[None]


@pytest.fixture(scope="module")
def output(filled: PointRCNN, points: torch.Tensor) -> PointRCNNOutput:
    with torch.inference_mode():
        result: PointRCNNOutput = filled(points)
    return result


def test_parameters_have_the_published_names_and_shapes(reference_dir: Path) -> None:
    lines = (reference_dir / "pointrcnn_keys.txt").read_text().splitlines()
    published = {}
    for line in lines:
        found = re.fullmatch(r"(\S+) \((.*)\)", line)
        assert found is not None, line
        published[found[1]] = tuple(int(size) for size in found[2].split(",") if size.strip())
    model = PointRCNN()
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == published
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_887_452


def test_the_rpn_says_the_same(reference_dir: Path, output: PointRCNNOutput) -> None:
    with np.load(reference_dir / "pointrcnn_dev.npz") as reference:
        np.testing.assert_allclose(output["rpn_cls"][0].numpy(), reference["rpn_cls"], atol=1e-3)
        np.testing.assert_allclose(output["rpn_reg"][0, ::8].numpy(), reference["rpn_reg"], atol=1e-3)


def test_the_rois_are_the_same(reference_dir: Path, output: PointRCNNOutput) -> None:
    with np.load(reference_dir / "pointrcnn_dev.npz") as reference:
        expected = reference["rois"]
    distance = np.abs(output["rois"][0].numpy()[:, None] - expected).max(axis=2)
    # RoIs of equal score may swap places.
    assert distance.min(axis=0).max() < 1e-2
    assert distance.min(axis=1).max() < 1e-2


def test_the_rcnn_head_says_the_same_of_the_same_rois(
    reference_dir: Path, filled: PointRCNN, points: torch.Tensor, output: PointRCNNOutput
) -> None:
    with np.load(reference_dir / "pointrcnn_dev.npz") as reference, torch.inference_mode():
        rcnn_cls, rcnn_reg = filled.rcnn_net(points, filled.rpn(points), torch.from_numpy(reference["rois"])[None])
        np.testing.assert_allclose(rcnn_cls[0].numpy(), reference["rcnn_cls"], atol=1e-2)
        np.testing.assert_allclose(rcnn_reg[0].numpy(), reference["rcnn_reg"], atol=1e-2)
    assert output["rcnn_cls"].shape == (1, 100, 1) and output["rcnn_reg"].shape == (1, 100, 46)


def test_outputs_have_names(output: PointRCNNOutput) -> None:
    assert output["boxes"] is output.boxes and output["scores"] is output.scores
    assert output.boxes.shape == (1, 100, 7)
    torch.testing.assert_close(output.scores, output.rcnn_cls[..., 0].sigmoid())
    for name in ("seg_result", "__getitem__"):
        with pytest.raises(KeyError, match=name):
            output[name]
