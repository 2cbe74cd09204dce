"""Detection with a trained PointRCNN, of this package or published."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.detector import Detector, detected_objects, reading_checkpoint
from pseudolidar.detectors.pointnet2 import fold_batch_norm
from pseudolidar.detectors.pointrcnn.model import PointRCNN
from pseudolidar.detectors.pointrcnn.rpn import ranked
from pseudolidar.detectors.pointrcnn.scenes import sample_scene, scene_points
from pseudolidar.files import FormatError
from pseudolidar.kernels.graphs import RecordedKernels
from pseudolidar.kitti import Calibration, Objects, box3d_corners
from pseudolidar.ops import nms_best_first
from pseudolidar.training import load_plain, require_device

_EXPECTED = "a PointRCNN's checkpoint, of this package or published (model_state)"
# Settings that published checkpoints were trained under, and don't hold.
PUBLISHED_SETTINGS = {"points": 16384, "score_threshold": 0.3, "nms_threshold": 0.1}
# Boxes whose projection is both wider and higher than this fraction of the image are no objects. Published code asks
# for one of the two, which would take people close to a low camera away.
_LARGEST_FRACTION = 0.8
# Corners nearer than this have no place in the image.
_NEAREST_CORNER_M = 0.1


@dataclass(frozen=True)
class PointRCNNDetector(Detector):
    """A trained network with the settings of its training (`PointRCNNTraining`)."""

    model: PointRCNN
    class_names: tuple[str, ...]
    points: int
    score_threshold: float
    nms_threshold: float
    max_depth: float | None

    starts_from_boxes2d = False
    # Dense clouds have most of their points where there is nothing to learn.
    wants_sparse_cloud = True

    @classmethod
    def from_checkpoint(cls, checkpoint: str | Path, device: str = "cpu") -> "PointRCNNDetector":
        """Load a checkpoint of `train_pointrcnn`, or a published one; errors are those of `detectors.load_detector`.

        Only tensors and plain data are unpickled. A published checkpoint (`{"model_state": ...}`, or the parameters
        alone) is taken for the published car model's.
        """
        require_device(device)
        content = load_plain(checkpoint, _EXPECTED)
        if not isinstance(content, dict):
            raise FormatError(checkpoint, "content", type(content).__name__, _EXPECTED)
        arguments: dict[str, Any] = content.get(
            "arguments", {"class_name": "Car", "max_depth": None, "settings": PUBLISHED_SETTINGS}
        )
        if "phase" in arguments:
            raise FormatError(checkpoint, "phase", arguments["phase"], "a detector whose training is finished")
        with reading_checkpoint(checkpoint, _EXPECTED):
            is_published = "arguments" not in content
            model = PointRCNN() if is_published else PointRCNN.from_arguments(arguments["network"])
            state = content.get("model_state", content) if is_published else content["state_dict"]
            settings = arguments["settings"]
            rules = (settings["points"], settings["score_threshold"], settings["nms_threshold"])
            detector = cls(model, (arguments["class_name"],), *rules, arguments["max_depth"])
        _load(model, state, checkpoint)
        fold_batch_norm(model.to(device))
        return detector

    @override
    @torch.inference_mode()
    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        # The objects come best first; their scores are logits.
        scene = scene_points(points_velo, calibration, image_size, self.max_depth)
        if not len(scene):
            return Objects.empty(scored=True), Counter({"scenes without a point in the detector's area": 1})
        sampled = sample_scene(scene, self.points, np.random.default_rng(seed))
        found = self._find(torch.from_numpy(sampled)[None], self.model.mean_size_m.device).cpu().double().numpy()
        box3d_m, score = np.split(found[~np.isnan(found[:, 7])], [7], axis=1)
        box2d, fault = project_boxes(box3d_m, calibration, image_size)
        good = fault == ""
        names = np.full(int(good.sum()), self.class_names[0])
        return detected_objects(names, box2d[good], box3d_m[good], score[good, 0]), Counter(fault[~good].tolist())

    @functools.cached_property
    def _find(self) -> RecordedKernels:
        """From points float32 (1, N, 3) to boxes and logits (R, 8) of the objects, the best first; NaN fills up."""

        def find(points: Tensor) -> Tensor:
            output = self.model.both_stages(points)
            logits, confident = output.rcnn_cls[..., 0], output.scores > self.score_threshold
            order = ranked(logits, torch.where(confident, 0, 1))[..., None]
            boxes = output.boxes.take_along_dim(order, dim=1)
            number = confident.sum(dim=1)
            kept = nms_best_first(boxes, number, self.nms_threshold, rotated=True, count=boxes.shape[1])[..., None]
            rows = torch.cat([output.boxes, output.rcnn_cls], dim=2).take_along_dim(order, dim=1)
            return torch.where(kept < 0, torch.nan, rows.take_along_dim(kept.clamp(min=0), dim=1))[0]

        return RecordedKernels(find)


def _load(model: PointRCNN, state: object, path: str | Path) -> None:
    if not isinstance(state, Mapping):
        raise FormatError(path, "weights", type(state).__name__, _EXPECTED)
    # Parallel training puts a prefix before the names.
    state = {str(name).removeprefix("module."): value for name, value in state.items()}
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    # Checkpoints from before PyTorch 0.4.1 do not count batches, and nothing here needs the count.
    own = {name: shape for name, shape in own.items() if name in given or not name.endswith("num_batches_tracked")}
    different = [name for name in sorted(own.keys() | given.keys()) if own.get(name) != given.get(name)]
    if different:
        name = different[0]
        expected = f"{own.get(name, 'no such parameter')}; {len(different)} parameters differ"
        raise FormatError(path, name, given.get(name, "nothing"), expected)
    model.load_state_dict(state, strict=False)


def project_boxes(
    box3d: NDArray[np.float64], calibration: Calibration, image_size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """2D boxes (N, 4) px of boxes (N, 7), clipped to the image, and (N,) text: what is wrong with a box, or empty."""
    height, width = image_size
    box2d = np.zeros((len(box3d), 4))
    fault = np.full(len(box3d), "", dtype="<U48")
    for i, corners in enumerate(box3d_corners(box3d)):
        pixels, depth = calibration.rect_to_image(corners)
        pixels = pixels[depth > _NEAREST_CORNER_M]
        if len(pixels):
            box2d[i] = np.clip([*pixels.min(axis=0), *pixels.max(axis=0)], 0, 2 * [width - 1, height - 1])
        size = box2d[i, 2:] - box2d[i, :2]
        if not (size > 0).all():
            fault[i] = "boxes outside of the image"
        elif size[0] > _LARGEST_FRACTION * width and size[1] > _LARGEST_FRACTION * height:
            fault[i] = f"boxes over {_LARGEST_FRACTION:.0%} of the image"
    return box2d, fault
