"""Networks of the 2D detector: what ignored boxes do to the loss, and which pretrained weights fit."""

import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.models import resnet18
from torchvision.models.detection import fasterrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

from pseudolidar.detectors.boxes2d.interface import Target
from pseudolidar.detectors.boxes2d.networks import FasterRCNN, LightFCOS, detector_network
from pseudolidar.detectors.boxes2d.training import load_pretrained
from pseudolidar.files import FormatError

CAR = [16.0, 16.0, 48.0, 40.0]


@pytest.fixture(scope="module")
def fcos() -> LightFCOS:
    torch.manual_seed(0)
    model = detector_network("fcos_resnet18", 2, frozen_batch_norm=False)
    assert isinstance(model, LightFCOS)
    return model.train()


@pytest.fixture(scope="module")
def faster_rcnn() -> FasterRCNN:
    torch.manual_seed(0)
    model = detector_network("faster_rcnn_resnet50", 2, frozen_batch_norm=True)
    assert isinstance(model, FasterRCNN)
    return model.train()


def target(boxes: list[list[float]], ignored: list[list[float]], classes: list[list[bool]]) -> Target:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.zeros(len(boxes), dtype=torch.int64),
        "ignored_boxes": torch.tensor(ignored).reshape(-1, 4),
        "ignored_classes": torch.tensor(classes, dtype=torch.bool).reshape(-1, 2),
    }


def image(height: int = 64, width: int = 96) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(1))


def logit_gradient(fcos: LightFCOS, truth: Target) -> Tensor:
    """Gradient of the classification loss at the finest level's locations: (16, 24, classes)."""
    features = [torch.zeros(1, 64, 64 // stride, 96 // stride) for stride in (4, 8, 16, 32, 64)]
    outputs = {name: output.detach().requires_grad_() for name, output in fcos.head(features).items()}
    images, _ = fcos.transform([image()])
    anchors = fcos.anchor_generator(images, features)
    counts = [feature.shape[2] * feature.shape[3] for feature in features]
    fcos.compute_loss([truth], outputs, anchors, counts)["classification"].backward()
    gradient = outputs["cls_logits"].grad
    assert gradient is not None
    return gradient[0, : 16 * 24].reshape(16, 24, 2)


def test_ignored_boxes_count_for_nothing_for_their_class_in_fcos(fcos: LightFCOS) -> None:
    without = logit_gradient(fcos, target([CAR], [], []))
    # An ignored box that holds the car and its surroundings, for the first class alone.
    ignored = logit_gradient(fcos, target([CAR], [[8, 8, 60, 60]], [[True, False]]))
    rows, columns = torch.meshgrid(torch.arange(16) * 4, torch.arange(24) * 4, indexing="ij")
    inside = (rows >= 8) & (rows <= 60) & (columns >= 8) & (columns <= 60)
    found = without[..., 0] < 0
    assert found.any() and (without[..., 0][~found] > 0).all()
    torch.testing.assert_close(ignored[..., 1], without[..., 1])
    torch.testing.assert_close(ignored[..., 0][found | ~inside], without[..., 0][found | ~inside])
    assert (ignored[..., 0][inside & ~found] == 0).all()


def test_faster_rcnn_ignores_anchors_and_proposals(faster_rcnn: FasterRCNN) -> None:
    truth = target([CAR], [[56, 8, 90, 60]], [[False, True]])
    inside, half, outside = [60.0, 20, 80, 40], [40.0, 20, 70, 40], [0.0, 0, 10, 10]
    anchors = torch.tensor([CAR, inside, half, outside])
    (labels,), _ = faster_rcnn.rpn.assign_targets_to_anchors([anchors], [truth])
    assert labels.tolist() == [1, -1, 0, 0]
    over_car = target([CAR], [[0, 0, 96, 64]], [[True, True]])
    (labels,), _ = faster_rcnn.rpn.assign_targets_to_anchors([anchors], [over_car])
    assert labels.tolist() == [1, -1, -1, -1]
    (kept,), _, (labels,), _ = faster_rcnn.roi_heads.select_training_samples([anchors], [truth])
    # The object itself joins the proposals.
    rows = sorted(zip(kept.tolist(), labels.tolist(), strict=True))
    assert rows == sorted([(CAR, 0), (CAR, 0), (half, 0), (outside, 0)])


@pytest.mark.parametrize("name", ["fcos", "faster_rcnn"])
def test_a_loss_for_every_kind_of_image(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    background, only_ignored = target([], [], []), target([], [CAR], [[True, True]])
    car = target([CAR], [], [])
    car["labels"] += model.first_label
    with torch.no_grad():
        nothing = torch.stack(list(model([image()], [background]).values())).sum()
    total = torch.stack(list(model([image()] * 2, [car, only_ignored]).values())).sum()
    assert torch.isfinite(nothing) and torch.isfinite(total.detach())
    total.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    model.zero_grad(set_to_none=True)


@pytest.mark.parametrize("name", ["fcos", "faster_rcnn"])
def test_mixed_precision_keeps_places_exact(name: str, request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(name)
    wide = torch.zeros(1, 3, 64, 1280)
    strides = (4, 8, 16, 32, 64)
    features = [torch.zeros(1, 4, 64 // stride, 1280 // stride, dtype=torch.bfloat16) for stride in strides]
    generator = model.anchor_generator if name == "fcos" else model.rpn.anchor_generator
    shapes = ImageList(wide, [(64, 1280)])
    (exact,) = generator(shapes, [feature.float() for feature in features])
    (anchors,) = generator(shapes, features)
    torch.testing.assert_close(anchors, exact, rtol=0, atol=0)
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        (found,) = model([image()])
    model.train()
    assert found["boxes"].dtype == found["scores"].dtype == torch.float32


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="network: found 'yolo'"):
        detector_network("yolo", 3, frozen_batch_norm=False)  # type: ignore[arg-type]


def test_a_resnet_becomes_the_body(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = resnet18(weights=None).state_dict()
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "resnet.pth")
    model = detector_network("fcos_resnet18", 2, frozen_batch_norm=False)
    with caplog.at_level(logging.INFO):
        load_pretrained(model, "fcos_resnet18", str(tmp_path / "resnet.pth"))
    own = model.state_dict()
    torch.testing.assert_close(own["backbone.body.layer3.1.conv2.weight"], weights["layer3.1.conv2.weight"])
    assert "resnet.pth: 90 tensors taken; left out: layer4.0 (15), layer4.1 (10), fc (2); random: " in caplog.text
    assert "random: backbone.fpn (" in caplog.text and "backbone.body" not in caplog.text


def test_published_weights_fit_all_but_the_class_heads(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    published = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    # Files from before torchvision 0.13 name these layers without their place.
    old = {
        name.replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if ("fpn" in name or "rpn.head.conv" in name)
        else name: value
        for name, value in published.items()
    }
    assert "rpn.head.conv.weight" in old and "backbone.fpn.inner_blocks.0.weight" in old
    torch.save(old, tmp_path / "coco.pth")
    model = detector_network("faster_rcnn_resnet50", 3, frozen_batch_norm=True)
    with caplog.at_level(logging.INFO):
        load_pretrained(model, "faster_rcnn_resnet50", str(tmp_path / "coco.pth"))
    own = model.state_dict()
    for name in ("rpn.head.conv.0.0.weight", "backbone.fpn.layer_blocks.3.0.bias", "backbone.body.layer4.2.bn3.weight"):
        torch.testing.assert_close(own[name], published[name])
    assert "left out: roi_heads.box_predictor (4); random: roi_heads.box_predictor (4)" in caplog.text


def test_files_without_fitting_weights_are_refused(tmp_path: Path) -> None:
    model = detector_network("fcos_resnet18", 2, frozen_batch_norm=False)
    with pytest.raises(FormatError, match="nothing there"):
        load_pretrained(model, "fcos_resnet18", str(tmp_path / "none.pth"))
    torch.save({"conv9.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(FormatError, match="1 of which none fits, expected tensors of fcos_resnet18"):
        load_pretrained(model, "fcos_resnet18", str(tmp_path / "other.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FormatError, match=r"list\.pth: file: found list, expected tensors by name"):
        load_pretrained(model, "fcos_resnet18", str(tmp_path / "list.pth"))
