"""The interface of a trained detector, and helpers that all kinds of detectors share."""

import functools
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pseudolidar.cloud import clouds_digest, sparsify_points
from pseudolidar.detectors.boxes2d.boxes import Boxes2d
from pseudolidar.files import FormatError, InputError
from pseudolidar.kitti import Calibration, Frame, Objects, read_points
from pseudolidar.training import load_checkpoint, matching_state


class Detector(ABC):
    """A trained detector: the cloud of one frame in, its objects out.

    Attributes:
        class_names: the classes that it finds, in KITTI's spelling.
        starts_from_boxes2d: whether it searches only inside 2D boxes; else it needs none.
        wants_sparse_cloud: whether clouds from disparity maps are to be sparsified for it (`cloud.sparsify_points`).
    """

    class_names: tuple[str, ...]
    starts_from_boxes2d: bool
    wants_sparse_cloud: bool

    @abstractmethod
    def objects(
        self,
        points_velo: NDArray[np.float32],
        calibration: Calibration,
        image_size: tuple[int, int],
        boxes: Boxes2d,
        seed: int,
    ) -> tuple[Objects, Counter[str]]:
        """The objects of one frame, and how often something was skipped for which reason.

        Args:
            points_velo: float32 (N, 4), velodyne frame.
            image_size: (height, width) of the left image, px.
            boxes: 2D boxes of any class; detectors that need none ignore them.
        """

    def detect(self, frame: Frame, points_velo: NDArray[np.float32], boxes: Boxes2d | None = None) -> Objects:
        """The objects of a data set's frame in the cloud of its disparity map, as it comes from `disparity_to_points`.

        Raises:
            InputError: no 2D boxes for a detector that starts from them.
        """
        require_boxes(self, boxes)
        cloud = sparsify_points(points_velo) if self.wants_sparse_cloud else points_velo
        boxes = Boxes2d.empty() if boxes is None else boxes
        return self.objects(cloud, frame.calibration, frame.image_size(), boxes, frame_seed(frame.frame_id))[0]


def require_boxes(detector: Detector, boxes: object | None) -> None:
    """InputError where there are no 2D boxes for a detector that starts from them."""
    if boxes is None and detector.starts_from_boxes2d:
        raise InputError("boxes: found None, expected 2D boxes: this detector starts from them")


class Scene(NamedTuple):
    """A frame as a detector takes it: the cloud, float32 (N, 4), velodyne frame; (height, width) of the left image."""

    points_velo: NDArray[np.float32]
    calibration: Calibration
    image_size: tuple[int, int]


def read_scene(frame: Frame, cloud: Path) -> Scene:
    """The scene of a frame and the file of its cloud."""
    return Scene(read_points(cloud), frame.calibration, frame.image_size())


def cloud_folders(clouds: str | Path | Sequence[str | Path]) -> list[Path]:
    """The folders of clouds to train on, where one or several are given; InputError for none."""
    folders = [Path(clouds)] if isinstance(clouds, str | Path) else [Path(folder) for folder in clouds]
    if not folders:
        raise InputError("clouds: found no folder, expected one or several")
    return folders


def clouds_digests(folders: Sequence[Path], frame_ids: Sequence[str]) -> dict[str, str]:
    """`cloud.clouds_digest` of each folder for the record of a training: clouds, clouds_2, clouds_3, ..."""
    names = ["clouds", *(f"clouds_{number}" for number in range(2, len(folders) + 1))]
    return {name: clouds_digest(folder, frame_ids) for name, folder in zip(names, folders, strict=True)}


@contextmanager
def reading_checkpoint(path: str | Path, expected: str) -> Iterator[None]:
    """Turn missing keys and wrong shapes within the block into a FormatError that says what was `expected`."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise FormatError(path, "arguments and weights", str(error).splitlines()[0], expected) from error


@dataclass(frozen=True)
class InitialWeights:
    """The weights that a detector's training starts from.

    `mean_sizes` are those of their box coder, m, and are to be the new training's: what the weights say is relative to
    them.
    """

    path: str | Path
    detector: str
    state: Mapping[str, Tensor]
    mean_sizes: Any

    @classmethod
    def from_file(cls, path: str | Path, detector: str, class_names: Sequence[str]) -> "InitialWeights":
        """Read a checkpoint; FormatError for one of another kind than `detector`, or of other classes."""
        expected = f"a {detector}'s checkpoint"
        content = load_checkpoint(path, expected)
        with reading_checkpoint(path, expected):
            arguments = content["arguments"]
            own = [arguments["class_name"]] if "class_name" in arguments else [*arguments.get("class_names", [])]
            of_frustums = "Frustum PointNet" if own else "another network"
            kind = "PointRCNN" if arguments.get("detector") == "pointrcnn" else of_frustums
            if kind != detector:
                raise FormatError(path, "detector", kind, detector)
            if own != list(class_names):
                raise FormatError(path, "class_name", ", ".join(own), f"{', '.join(class_names)}, as is to be trained")
            sizes = arguments["network"]["mean_size_m" if detector == "PointRCNN" else "mean_sizes_m"]
            return cls(path, detector, content["state_dict"], sizes)

    def fill(self, model: nn.Module) -> None:
        """Give a network these weights; FormatError for a network of other layers."""
        model.load_state_dict(matching_state(self.path, self.state, model.state_dict(), f"this {self.detector}"))


def detected_objects(
    class_name: NDArray[np.str_], box2d: NDArray[np.float64], box3d: NDArray[np.float64], score: NDArray[np.float64]
) -> Objects:
    """Detections with `box2d` (N, 4) px and `box3d` (N, 7) x y z h w l ry (rectified camera frame) as `Objects`.

    Headings are wrapped to [-pi, pi); truncation and occlusion are not given.
    """
    count = len(class_name)
    heading = _wrapped(box3d[:, 6])
    return Objects(
        class_name=class_name,
        truncation=np.full(count, -1.0),
        occlusion=np.full(count, -1),
        alpha=_wrapped(heading - np.arctan2(box3d[:, 0], box3d[:, 2])),
        box2d=box2d,
        box3d=np.concatenate([box3d[:, :6], heading[:, None]], axis=1),
        score=score,
    )


def _wrapped(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def counted(verb: str, reasons: Mapping[str, int]) -> str:
    """The end of a message that counts reasons: `; VERB COUNT: REASON` for each."""
    return "".join(f"; {verb} {count}: {reason}" for reason, count in sorted(reasons.items()) if count)


def frame_seed(frame_id: str) -> int:
    """The seed of detection in a frame. It depends on the frame alone, so that a resumed run writes the same bytes."""
    return zlib.crc32(frame_id.encode())


@functools.lru_cache(maxsize=4)
def epoch_order(count: int, *seed: int) -> NDArray[np.int64]:
    """The random order in which an epoch goes through `count` examples."""
    return np.random.default_rng(seed).permutation(count)
