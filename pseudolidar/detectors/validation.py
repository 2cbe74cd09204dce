"""The test loss of a detector while it is trained: 100 - AP40 on frames that it is not trained on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pseudolidar.cloud import clouds_digest
from pseudolidar.detectors.boxes2d.boxes import Boxes2d
from pseudolidar.detectors.detector import Detector, Scene, frame_seed, read_scene
from pseudolidar.evaluation import evaluate
from pseudolidar.files import FormatError, combined_digest, overlapped, require_file
from pseudolidar.kitti import Frame, ObjectDataset, Objects
from pseudolidar.training import require_unseen

Given = TypeVar("Given")


class ValidationFrames:
    """Labelled frames to test a detector on, whose labels are read at once.

    Losses are 100 - AP40, percent, of moderate objects, by name: of each view that of the mean AP over the classes that
    are there; of several classes also each alone. `loose` is at the lower IoU, which says something early.

    Args:
        trained_on: the frames that the detector is trained on.
        class_names: the classes that it finds.
        clouds_dir: holds the frames' clouds, ID.bin; None for a 2D detector.
        max_depth: m; objects beyond do not count.

    Raises:
        FormatError: a missing or broken label file, a missing cloud, or no object to find.
        InputError: a frame that is trained on, or a class that KITTI does not score.
    """

    def __init__(
        self,
        dataset: ObjectDataset,
        trained_on: ObjectDataset,
        class_names: Sequence[str],
        clouds_dir: str | Path | None = None,
        max_depth: float | None = None,
    ) -> None:
        if dataset.folder.resolve() == trained_on.folder.resolve():
            require_unseen({*dataset.frame_ids} & {*trained_on.frame_ids})
        self._dataset = dataset
        self._class_names = class_names
        self._clouds_dir = clouds_dir
        self._depth_range = None if max_depth is None else (0.0, max_depth)
        for frame_id in dataset.frame_ids if clouds_dir is not None else ():
            require_file(self._cloud(frame_id), "float32 x 4 points (velodyne .bin)")
        self._labels = {frame.frame_id: frame.objects() for frame in dataset}
        nothing = [Objects.empty(scored=True)] * len(dataset)
        if np.isnan(self._losses(nothing, ("bbox",))["100-AP40_bbox"]):
            found = f"no {' and no '.join(class_names)} of moderate difficulty"
            raise FormatError(dataset.root, f"split {dataset.split}", found, "objects to validate on")

    def digests(self) -> dict[str, str]:
        """Of the frames and their clouds, for the record of a training that ends by them."""
        digests = {"validation": combined_digest(self._dataset.digests(("calib", "image_2", "label_2")))}
        if self._clouds_dir is not None:
            digests["validation_clouds"] = clouds_digest(self._clouds_dir, self._dataset.frame_ids)
        return digests

    def losses_3d(self, detector: Detector) -> dict[str, float]:
        """In bird's eye view, which decides, and in 3D; a detector that starts from 2D boxes takes the labels'."""

        def found_in(frame: Frame, scene: Scene) -> Objects:
            boxes = Boxes2d.from_objects(self._labels[frame.frame_id])
            return detector.objects(*scene, boxes, frame_seed(frame.frame_id))[0]

        found = self._found(lambda frame: read_scene(frame, self._cloud(frame.frame_id)), found_in)
        return self._losses(found, ("bev", "3d")) | self._losses(found, ("bev", "3d"), loose=True)

    def losses_2d(self, boxes_in: Callable[[NDArray[np.uint8]], Boxes2d]) -> dict[str, float]:
        """Of 2D boxes; `boxes_in` finds those of an image, uint8 (H, W, 3) RGB."""
        found = self._found(Frame.left_image, lambda frame, image: boxes_in(image).to_objects())
        return self._losses(found, ("bbox",))

    def _cloud(self, frame_id: str) -> Path:
        assert self._clouds_dir is not None
        return Path(self._clouds_dir) / f"{frame_id}.bin"

    def _found(self, read: Callable[[Frame], Given], find: Callable[[Frame, Given], Objects]) -> list[Objects]:
        found: dict[str, Objects] = {}

        def keep(frame: Frame, objects: Objects) -> None:
            found[frame.frame_id] = objects

        overlapped(list(self._dataset), None, read, find, keep, torch.get_num_threads())
        return [found[frame_id] for frame_id in self._dataset.frame_ids]

    def _losses(self, found: Sequence[Objects], views: Sequence[str], loose: bool = False) -> dict[str, float]:
        labels, overlap = list(self._labels.values()), "loose" if loose else "standard"
        evaluation = evaluate(labels, found, self._class_names, ("moderate",), self._depth_range, overlap)
        losses = {}
        for view in views:
            name = f"100-AP40_{view}{'_loose' if loose else ''}"
            each = {one: 100.0 - evaluation.ap(one, view, "moderate") for one in self._class_names}
            there = [loss for loss in each.values() if not np.isnan(loss)]
            losses[name] = sum(there) / len(there) if there else np.nan
            if len(each) > 1:
                losses |= {f"{name}_{one}": loss for one, loss in each.items()}
        return losses
