"""Weights that a 2D detector starts from: a file on disk, or torchvision's own, downloaded when that is asked for."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torchvision.models import ResNet18_Weights
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from pseudolidar.detectors.boxes2d.networks import Network
from pseudolidar.files import FormatError
from pseudolidar.training import load_plain

logger = logging.getLogger(__name__)

DOWNLOAD = "download"
"""Asks for torchvision's weights: ImageNet's ResNet-18, or Faster R-CNN trained on COCO."""

_PUBLISHED = {
    "fcos_resnet18": ResNet18_Weights.IMAGENET1K_V1,
    "faster_rcnn_resnet50": FasterRCNN_ResNet50_FPN_Weights.COCO_V1,
}
# torchvision's files are older than the layer of normalisation that its pyramid and proposal head can have today.
_OLD_NAMES = (
    (re.compile(r"^(backbone\.fpn\.(?:inner|layer)_blocks\.\d+)\.(weight|bias)$"), r"\1.0.\2"),
    (re.compile(r"^(rpn\.head\.conv)\.(weight|bias)$"), r"\1.0.0.\2"),
)


def load_pretrained(model: nn.Module, network: Network, weights: str) -> None:
    """Fill a network with the weights that fit it by name and shape; the log says what was left out.

    Fits are a detector of the same kind, whose class heads are left out where the number of classes differs, and a
    plain ResNet, which becomes the body.

    Args:
        model: changed in place.
        network: which network it is.
        weights: a file (`.pth`, tensors by name, also under `state_dict` or `model`), or `download`.

    Raises:
        FormatError: no such file, no weights in it, or none that fit.
    """
    state: Any
    if weights == DOWNLOAD:
        path = Path(_PUBLISHED[network].url.rsplit("/", 1)[1])
        state = _PUBLISHED[network].get_state_dict(check_hash=True)
    else:
        path = Path(weights)
        state = load_plain(path, "weights: tensors by name (.pth)")
        for key in ("state_dict", "model"):
            state = state.get(key, state) if isinstance(state, Mapping) else state
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise FormatError(path, "file", type(state).__name__, "tensors by name")
    own = model.state_dict()
    fitting, left_out = {}, []
    for name, value in state.items():
        own_name = _name_in(own, str(name))
        if own_name is not None and own[own_name].shape == value.shape:
            fitting[own_name] = value
        else:
            left_out.append(str(name).removeprefix("module."))
    unfilled = [key for key in own if key not in fitting]
    if not any(value.dim() > 1 for value in fitting.values()):
        expected = f"tensors of {network} or of its ResNet"
        raise FormatError(path, "tensors", f"{len(left_out)} of which none fits", expected)
    model.load_state_dict(fitting, strict=False)
    logger.info("%s: %d tensors taken; left out: %s; random: %s",
                path.name, len(fitting), _summary(left_out), _summary(unfilled))  # fmt: skip


def _name_in(own: Mapping[str, Tensor], name: str) -> str | None:
    """What the network calls a tensor of a file; None if it has no such tensor."""
    name = name.removeprefix("module.")
    for pattern, replacement in _OLD_NAMES:
        name = pattern.sub(replacement, name)
    return next((key for key in (name, f"backbone.body.{name}") if key in own), None)


def _summary(names: list[str]) -> str:
    """Tensors counted by the part of the network that they belong to."""
    # Counts of batches are no weights.
    weights = [name for name in names if not name.endswith("num_batches_tracked")]
    parts = Counter(".".join(name.split(".")[:-1][:2]) for name in weights)
    return ", ".join(f"{part} ({count})" for part, count in parts.items()) or "nothing"
