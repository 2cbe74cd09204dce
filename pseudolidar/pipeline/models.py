"""A folder of trained models, recognised by their file names: disparity, 2D boxes, detectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pseudolidar.detectors import Detector, load_detector
from pseudolidar.ensembles import trained_disparity
from pseudolidar.files import FormatError, InputError, file_digest
from pseudolidar.kitti import Calibration
from pseudolidar.stereo import DisparityModel, KnownCameras, SemiGlobalMatching, disparity_tensor, scaled_disparity
from pseudolidar.stereo.inference import InferencePrecision
from pseudolidar.training import CHECKPOINT_SUFFIXES, was_kept_on_the_way
from pseudolidar.weights import Weights, weights_file

if TYPE_CHECKING:
    from pseudolidar.detectors.boxes2d import Detector2d

DetectorKind = Literal["frustum", "pointrcnn"]
DETECTOR_KINDS: tuple[DetectorKind, ...] = ("frustum", "pointrcnn")
"""Kinds of detectors: the beginnings of their file names."""

_PACKAGED_DISPARITY, _PACKAGED_BOXES2D = Weights.PSMNET_TOWN, Weights.BOXES2D_TOWN
_PACKAGED_DETECTORS: Mapping[DetectorKind, tuple[Weights, ...]] = {
    "frustum": (Weights.FRUSTUM_CAR_TOWN, Weights.FRUSTUM_PEDESTRIAN_TOWN),
    "pointrcnn": (Weights.POINTRCNN_CAR_TOWN, Weights.POINTRCNN_PEDESTRIAN_TOWN),
}

_LAYOUT = "disparity.pt, boxes2d.pt, frustum_NAME.pt and pointrcnn_NAME.pt (or .pth, .tar, .safetensors)"


@dataclass(frozen=True)
class Models:
    """The models of one system; `from_folder` describes their folder.

    Attributes:
        disparity: u.
        disparity_name: its file's name, or `semi-global matching`.
        disparity_settings: `align_corners`, `max_disparity` and `precision` as given.
        boxes2d: finds the 2D boxes for frustum detectors; None without such a file or detector.
        detectors: by file name; each class is found by only one of them.
        digests: SHA-256 of every file in use, by name.
        known_cameras: what u was trained on; pairs of others are scaled for it. None: every pair is left as it is.
    """

    disparity: DisparityModel
    disparity_name: str
    disparity_settings: Mapping[str, Any]
    boxes2d: "Detector2d | None"
    detectors: Mapping[str, Detector]
    digests: Mapping[str, str]
    known_cameras: KnownCameras | None = None

    @classmethod
    def from_folder(
        cls,
        folder: str | Path,
        kind: DetectorKind | None = None,
        device: str = "cpu",
        align_corners: bool | None = None,
        max_disparity: int | None = None,
        precision: InferencePrecision | None = None,
    ) -> "Models":
        """Load the models of a folder:

            disparity.pt         a PSMNet: any file that `pseudolidar.stereo.load_psmnet` reads, or an ensemble of them,
                                 of `train_disparity`; without it, semi-global matching
            boxes2d.pt           2D boxes for frustum detectors: a checkpoint of `train_detector2d`
            frustum_NAME.pt      Frustum PointNets, one or several: checkpoints of `train_detector`
            pointrcnn_NAME.pt    PointRCNNs, one or several: checkpoints of `train_detector`, or published weights

        NAME is free, e.g. `frustum_car.pt`. The suffix may also be .pth, .tar or .safetensors; others are ignored, and
        so is what a training kept on the way beside its checkpoint: `disparity.best.pt`, `disparity.step-500.pt`.

        Args:
            kind: only detectors of this kind; None: all. Where both kinds find the same class, it must be given.
            align_corners: see `load_psmnet`; for weights that don't record it.
            max_disparity: of the search, px; None: what the network records, or 192.
            precision: of the disparity network, see `TrainedPSMNet`.

        Raises:
            FormatError: no such folder, no detector in it, two that find the same class, weights of another name, or a
                file that holds another model than its name says.
            InputError: no such kind or device.
        """
        folder = Path(folder)
        _require_kind(kind)
        if not folder.is_dir():
            raise FormatError(folder, "folder", "nothing there", f"a folder of models: {_LAYOUT}")
        disparity, boxes2d, files = _sorted_by_name(folder)
        files = [path for path in files if kind in (None, _kind_of(path.name))]
        if not files:
            found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
            expected = " or ".join(f"{name}_NAME.pt" for name in DETECTOR_KINDS if kind in (None, name))
            raise FormatError(folder, "detectors", found, expected)
        return cls._of_files(disparity, boxes2d, files, device, align_corners, max_disparity, precision)

    @classmethod
    def from_package(
        cls,
        kind: DetectorKind | None = None,
        device: str = "cpu",
        max_disparity: int | None = None,
        precision: InferencePrecision | None = None,
    ) -> "Models":
        """Load the package's own weights (`pseudolidar.weights`): cars and pedestrians, by PointRCNN if `kind` is None.

        Pairs of cameras that they were not trained for are scaled. Arguments are as in `from_folder`; so are errors,
        and FormatError if the package was installed without its weights.
        """
        _require_kind(kind)
        used = (_PACKAGED_DISPARITY, _PACKAGED_BOXES2D, *_PACKAGED_DETECTORS[kind or "pointrcnn"])
        disparity, boxes2d, *files = (weights_file(each.name.lower()) for each in used)
        known = _PACKAGED_DISPARITY.value
        assert known.shortest_focal_px is not None and known.max_disparity is not None
        cameras = KnownCameras(known.shortest_focal_px, max_disparity or known.max_disparity)
        return cls._of_files(disparity, boxes2d, files, device, None, max_disparity, precision, cameras)

    @classmethod
    def _of_files(
        cls,
        disparity: Path | None,
        boxes2d: Path | None,
        files: list[Path],
        device: str,
        align_corners: bool | None,
        max_disparity: int | None,
        precision: InferencePrecision | None,
        known_cameras: KnownCameras | None = None,
    ) -> "Models":
        detectors = {path.name: _detector(path, device) for path in files}
        _require_one_each(files[0].parent, detectors)
        if all(_kind_of(name) != "frustum" for name in detectors):
            boxes2d = None
        used = [path for path in (disparity, boxes2d, *files) if path is not None]
        return cls(
            _disparity_model(disparity, device, align_corners, max_disparity, precision),
            "semi-global matching" if disparity is None else disparity.name,
            {"align_corners": align_corners, "max_disparity": max_disparity, "precision": precision},
            None if boxes2d is None else _detector2d(boxes2d, device),
            detectors,
            {path.name: file_digest(path) for path in used},
            known_cameras,
        )

    def disparity_of(self, left: NDArray[np.uint8], right: NDArray[np.uint8], calibration: Calibration) -> Tensor:
        """u of a pair, float32 (H, W) px on its device; scaled for it where it doesn't know such cameras."""
        if self.known_cameras is None:
            return disparity_tensor(self.disparity, left, right)
        return scaled_disparity(self.disparity, left, right, self.known_cameras.scale_of(calibration))

    def scaling_notice(self, calibration: Calibration) -> str | None:
        """How `disparity_of` scales the pairs of a camera, and why; None if it does not."""
        return None if self.known_cameras is None else self.known_cameras.notice_of(calibration)

    @property
    def starts_from_boxes2d(self) -> bool:
        """Whether one of the detectors searches only inside 2D boxes."""
        return any(detector.starts_from_boxes2d for detector in self.detectors.values())


def _require_kind(kind: str | None) -> None:
    if kind is not None and kind not in DETECTOR_KINDS:
        raise InputError(f"detectors: found {kind!r}, expected one of {', '.join(DETECTOR_KINDS)}")


def _kind_of(name: str) -> DetectorKind:
    return "frustum" if name.startswith("frustum_") else "pointrcnn"


def _sorted_by_name(folder: Path) -> tuple[Path | None, Path | None, list[Path]]:
    """The files of the disparity model, of the 2D boxes, of the detectors."""
    by_kind: dict[str, list[Path]] = {"disparity": [], "boxes2d": [], "detectors": []}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in CHECKPOINT_SUFFIXES or not path.is_file() or was_kept_on_the_way(path):
            continue
        kind = "detectors" if path.stem.startswith(tuple(f"{kind}_" for kind in DETECTOR_KINDS)) else path.stem
        if kind not in by_kind or path.stem == "detectors":
            raise FormatError(path, "name", path.name, f"one of {_LAYOUT}, which say what a file holds")
        by_kind[kind].append(path)
    for kind, what in (("disparity", "disparity models"), ("boxes2d", "models of 2D boxes")):
        if len(by_kind[kind]) > 1:
            raise FormatError(folder, what, ", ".join(path.name for path in by_kind[kind]), "one of them")
    return next(iter(by_kind["disparity"]), None), next(iter(by_kind["boxes2d"]), None), by_kind["detectors"]


def _detector2d(path: Path, device: str) -> "Detector2d":
    # Here, since it imports torchvision, which takes its time.
    from pseudolidar.detectors.boxes2d import Detector2d

    return Detector2d.from_checkpoint(path, device)


def _detector(path: Path, device: str) -> Detector:
    detector = load_detector(path, device)
    found = "frustum" if detector.starts_from_boxes2d else "pointrcnn"
    if _kind_of(path.name) != found:
        raise FormatError(path, "name", path.stem.partition("_")[0], f"{found}, which is what the file holds")
    return detector


def _require_one_each(folder: Path, detectors: Mapping[str, Detector]) -> None:
    finder: dict[str, str] = {}
    for name, detector in detectors.items():
        for class_name in detector.class_names:
            if class_name in finder:
                expected = "one detector a class: detectors=frustum or detectors=pointrcnn chooses a kind"
                raise FormatError(folder, f"class {class_name}", f"{finder[class_name]} and {name}", expected)
            finder[class_name] = name


def _disparity_model(
    path: Path | None,
    device: str,
    align_corners: bool | None,
    max_disparity: int | None,
    precision: InferencePrecision | None,
) -> DisparityModel:
    if path is not None:
        return trained_disparity(path, align_corners, max_disparity, precision, device)
    return SemiGlobalMatching() if max_disparity is None else SemiGlobalMatching(max_disparity)
