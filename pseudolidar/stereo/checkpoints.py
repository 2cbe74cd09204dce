"""PSMNet's weights on disk: published checkpoints, ours, and safetensors, checked layer by layer before use."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pseudolidar.files import FormatError
from pseudolidar.stereo.psmnet import PSMNet, channels_last
from pseudolidar.training import Arithmetic, load_plain, matching_state, require_checkpoint_path, save_checkpoint

_EXPECTED = "a checkpoint of PSMNet (stacked hourglass)"
# What DataParallel and torch.compile put before every name.
_PREFIXES = ("module.", "_orig_mod.")
_CHOICE = (
    "a choice: align_corners=True for weights trained before PyTorch 0.4 or with align_corners=True in the code (the "
    "checkpoints published in 2018), False for weights trained with PyTorch 0.4 or later as it comes (the SceneFlow "
    "checkpoint that PSMNet's authors added in 2021). The wrong one gives wrong disparities without any error"
)


@dataclass(frozen=True)
class PSMNetWeights:
    """The content of a file of weights.

    Attributes:
        state: tensors under the published names.
        arguments: constructor arguments of the network; None for published files, which don't record them.
        precision: the arithmetic that the network was trained in; `float32` where the file doesn't say.
    """

    path: Path
    state: dict[str, Tensor]
    arguments: dict[str, Any] | None
    precision: Arithmetic = "float32"

    @classmethod
    def from_file(cls, path: str | Path) -> "PSMNetWeights":
        """Read a file: `.safetensors`, otherwise the format of `torch.save`, as a state dict or with one inside.

        FormatError: no such file, a truncated one, one that would run code, or no tensors by name in it.
        """
        path = Path(path)
        content = load_plain(path, _EXPECTED)
        if not isinstance(content, dict):
            raise FormatError(path, "file", f"a {type(content).__name__}", _EXPECTED)
        state = content.get("state_dict", content)
        if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
            names = ", ".join(str(name) for name in list(content)[:5])
            raise FormatError(path, "file", f"a dictionary of {names or 'nothing'}", f"{_EXPECTED}: state_dict")
        return cls(path, _bare_names(state), content.get("arguments"), content.get("precision", "float32"))

    def network(self, align_corners: bool | None = None, max_disparity: int | None = None) -> PSMNet:
        """The network, as `load_psmnet` returns it."""
        arguments = self._recorded() or _arguments_from_shapes(self.path, self.state)
        if max_disparity is not None:
            arguments["max_disparity"] = max_disparity
        return self.fill(arguments, align_corners)

    def fill(self, arguments: Mapping[str, Any], align_corners: bool | None = None) -> PSMNet:
        """A network of these constructor arguments with the file's weights; `align_corners` as in `load_psmnet`.

        FormatError if the weights or their record are of another network, InputError for arguments that no network has.
        """
        recorded = self._recorded()
        said = None if self.arguments is None else self.arguments.get("align_corners")
        if None not in (said, align_corners) and said != align_corners:
            expected = f"{align_corners}, as chosen (left out, the record counts)"
            raise FormatError(self.path, "align_corners", f"a record of {said}", expected)
        chosen = said if align_corners is None else align_corners
        model = _network({**arguments, "align_corners": bool(chosen)})
        # What network the file is of comes before the question of how to use it.
        model.load_state_dict(matching_state(self.path, self.state, model.state_dict(), "this PSMNet"))
        if recorded is not None and recorded["pool_sizes"] != list(arguments["pool_sizes"]):
            raise FormatError(self.path, "pool_sizes", recorded["pool_sizes"], f"{list(arguments['pool_sizes'])}")
        if chosen is None:
            raise FormatError(self.path, "align_corners", "no record of it", _CHOICE)
        channels_last(model)
        return model.eval()

    def _recorded(self) -> dict[str, Any] | None:
        if self.arguments is None:
            return None
        if "members" in self.arguments:
            found = f"those of an ensemble of {self.arguments['members']}"
            raise FormatError(self.path, "arguments", found, "the arguments of one PSMNet")
        try:
            return arguments_of(_network(self.arguments))
        except (TypeError, ValueError) as error:
            raise FormatError(self.path, "arguments", error, "the arguments of a PSMNet") from error


def load_psmnet(path: str | Path, align_corners: bool | None = None, max_disparity: int | None = None) -> PSMNet:
    """The network of a file of weights, in evaluation mode on the CPU, float32.

    Reads published checkpoints (Chang and Chen, PSMNet; Wang et al., Pseudo-LiDAR) and any other with the published
    names, in both formats of `torch.save`; checkpoints of `train_stereo`; and `.safetensors`. No file can run code.

    The SceneFlow checkpoint of 2018 gives disparities about 1.17 times too small, in the published code too: it is
    there to be trained on, not to be used as it is.

    Args:
        align_corners: how the network was trained to interpolate; None for files of `train_stereo` and `save_psmnet`,
            which record it. Others demand a choice, since the weights don't show it and the wrong one gives wrong
            disparities: True for the checkpoints published in 2018 and all trained before PyTorch 0.4 or with
            align_corners=True in the code; False for later ones.
        max_disparity: px, a multiple of 16; the weights don't depend on it. None: the recorded one, or 192.

    Raises:
        FormatError: no such file, a truncated one, one that would run code, weights of another network (names the first
            layer that differs, and how many do), no record of `align_corners` or another one than chosen.
        InputError: `max_disparity` is no multiple of 16.
    """
    return PSMNetWeights.from_file(path).network(align_corners, max_disparity)


def save_psmnet(path: str | Path, model: PSMNet) -> None:
    """Write a network's weights with a record of its arguments; FormatError for a suffix not in `CHECKPOINT_SUFFIXES`.

    A published checkpoint, loaded once with the right `align_corners` and written by this, never asks for it again.
    """
    require_checkpoint_path(path)
    state = {
        name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in model.state_dict().items()
    }
    save_checkpoint(path, {"state_dict": state, "arguments": arguments_of(model), "losses": []})


def arguments_of(model: PSMNet) -> dict[str, Any]:
    """The constructor arguments of a network."""
    features = model.feature_extraction
    return {
        "max_disparity": model.max_disparity,
        "align_corners": model.align_corners,
        "width": model.width,
        "pool_sizes": list(features.pool_sizes),
        "hourglasses": model.hourglasses,
        "blocks": [len(layer) for layer in (features.layer1, features.layer2, features.layer3, features.layer4)],
    }


def _network(arguments: Mapping[str, Any]) -> PSMNet:
    # Its random weights are overwritten: the caller's random numbers stay as they are.
    with torch.random.fork_rng([]):
        return PSMNet(**arguments)


def _bare_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    bare = dict(state)
    while bare and (prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in bare)), None)):
        bare = {name.removeprefix(prefix): tensor for name, tensor in bare.items()}
    # Some versions of the code register the disparities 0, 1, ... of the regression as a parameter.
    return {name: tensor for name, tensor in bare.items() if name.rpartition(".")[2] != "disp"}


def _arguments_from_shapes(path: Path, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments that the tensors' names and shapes tell; the published ones where they tell nothing."""

    def count(pattern: str, published: int, first: int = 1) -> int:
        following = next(number for number in itertools.count(first) if pattern.format(number) not in state)
        return following - first or published

    stem = state.get("feature_extraction.firstconv.0.0.weight")
    branches = count("feature_extraction.branch{}.1.0.weight", 4)
    if branches != 4:
        found = f"{branches} pooling branches, and no record of their windows"
        raise FormatError(path, "feature_extraction", found, "the published four, or a file that records pool_sizes")
    return {
        "max_disparity": 192,
        "width": 32 if stem is None or stem.dim() == 0 else stem.shape[0],
        "pool_sizes": [64, 32, 16, 8],
        "hourglasses": min(3, count("dres{}.conv1.0.0.weight", 3, first=2)),
        "blocks": [
            count(f"feature_extraction.layer{layer}.{{}}.conv1.0.0.weight", published, first=0)
            for layer, published in ((1, 3), (2, 16), (3, 3), (4, 3))
        ],
    }
