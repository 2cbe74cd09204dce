"""How the case study scores detectors: KITTI average precision on the validation split."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.evaluation import (
    DIFFICULTIES,
    LOOSE_OVERLAP,
    STANDARD_OVERLAP,
    Evaluation,
    Scenes,
    build_scenes,
    evaluate_scenes,
    left_out,
)
from pseudolidar.files import InputError, write_file
from pseudolidar.kitti import ObjectDataset, Objects, read_objects
from pseudolidar.systems import Inputs, ItemLosses, MeanOfLosses, Model

logger = logging.getLogger(__name__)

VIEWS = {"3d": "AP3D", "bev": "APBEV"}
"""How the paper calls average precision in each view."""

_WORDS = {"official": "at the official IoU", "loose": "at the looser IoU", "mean": "as the mean over IoU 0.1 to 0.9"}


@dataclass(frozen=True, eq=False)
class AveragePrecisionLoss:
    """100 - AP over frames, percent, see `Evaluation.ap`."""

    evaluation: Evaluation
    class_name: str
    view: str
    difficulty: str
    metric: str = "AP40"

    @property
    def items(self) -> tuple[str, ...]:
        """Ids of the F frames that were evaluated, in the order of the weights."""
        return self.evaluation.frame_ids

    @property
    def unit(self) -> str:
        """Points of the metric: percent would be read as a relative change."""
        return f"points of {self.metric}"

    @property
    def scored(self) -> int:
        """How many frames hold an object to find: false detections in the others count, but only beside these."""
        view = "bbox" if self.view == "aos" else self.view
        tally = self.evaluation.tallies.get((self.class_name, view, self.difficulty))
        return 0 if tally is None else int((tally.object_count > 0).sum())

    def of(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """100 - AP for each choice of the frames, see `ItemLosses`."""
        return 100.0 - self.evaluation.average_precisions(
            weights, self.class_name, self.view, self.difficulty, self.metric
        )

    def value(self) -> float:
        """100 - AP of all frames."""
        return 100.0 - self.evaluation.ap(self.class_name, self.view, self.difficulty, self.metric)


@dataclass(frozen=True)
class PrecisionChoice:
    """The detectors' fixed test loss: 100 - AP40.

    Attributes:
        overlap: the IoU that a match must exceed: official; loose, of `LOOSE_OVERLAP`, for detectors that are too weak
            for that; mean: AP is the mean over IoUs of 0.1, 0.2, ..., 0.9, which varies least with the training.
        difficulty: of the objects to find: easy, moderate, hard, or all, small ones too.
    """

    view: Literal["bev", "3d"]
    overlap: Literal["official", "loose", "mean"]
    difficulty: Literal["easy", "moderate", "hard", "all"]

    def __post_init__(self) -> None:
        for name, known in (("view", ("bev", "3d")), ("overlap", tuple(_WORDS)), ("difficulty", tuple(DIFFICULTIES))):
            if (found := getattr(self, name)) not in known:
                raise InputError(f"{name}: found {found!r}, expected {', '.join(known)}")

    def overlaps(self, class_name: str) -> tuple[float, ...]:
        """The IoUs over which the mean of AP is taken."""
        if self.overlap == "mean":
            return tuple(tenths / 10 for tenths in range(1, 10))
        overlap = LOOSE_OVERLAP if self.overlap == "loose" else STANDARD_OVERLAP
        return (overlap[class_name][self.view],)

    def __str__(self) -> str:
        which = "all objects" if self.difficulty == "all" else self.difficulty
        return f"{which}, {VIEWS[self.view]} {_WORDS[self.overlap]}"


def evaluate_results(
    results_dir: Path, frames: ObjectDataset, class_name: str, near_m: float, loose: bool = False
) -> Evaluation:
    """KITTI average precision of one detector's result files, `results_dir`/ID.txt of every frame.

    Pedestrians are scored at 0 to `near_m` m, as in the paper, everything else at any distance. `loose`: at the IoU of
    `LOOSE_OVERLAP` for 3D and BEV instead of the official one.

    Raises:
        FormatError: a missing or broken file.
    """
    overlap = {class_name: LOOSE_OVERLAP[class_name]} if loose else None
    scenes = _scenes(results_dir, frames, class_name, near_m)
    return evaluate_scenes(scenes, (class_name,), tuple(DIFFICULTIES), overlap, frame_ids=frames.frame_ids)


def _scenes(results_dir: Path, frames: ObjectDataset, class_name: str, near_m: float) -> Scenes:
    return build_scenes(
        [frame.objects() for frame in frames],
        [read_objects(results_dir / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids],
        (0.0, near_m) if class_name == "Pedestrian" else None,
    )


@dataclass(frozen=True)
class ScoredDetector(Model):
    """A detector as a vertex: its test loss is 100 - AP40 by frame of the validation split.

    `near_m`, m, up to which pedestrians are scored, and the choice of `loss` are the study's own.
    """

    class_name: str
    near_m: float = field(default=20.0, kw_only=True)
    loss: PrecisionChoice = field(default=PrecisionChoice("bev", "official", "moderate"), kw_only=True)

    def run_test(self, inputs: Inputs, folder: Path) -> None:
        """Write `average_precision.json`, at the official IoU and at the looser one."""
        assert inputs.predictions is not None
        frames = ObjectDataset(inputs.data, "val")
        found = [read_objects(inputs.predictions / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids]
        notice = left_out(Objects.concatenate(found), (self.class_name,), ("easy", "moderate", "hard"))
        if notice is not None:
            logger.warning("%s: %s", inputs.predictions, notice)
        scores = {
            name: evaluate_results(inputs.predictions, frames, self.class_name, self.near_m, loose).to_dict()
            for name, loose in (("official", False), ("loose", True))
        }
        write_file(folder / "average_precision.json", json.dumps(scores, indent=1))

    @override
    def test_loss(self, inputs: Inputs) -> ItemLosses:
        assert inputs.predictions is not None
        frames, name, choice = ObjectDataset(inputs.data, "val"), self.class_name, self.loss
        scenes = _scenes(inputs.predictions, frames, name, self.near_m)
        losses = []
        for overlap in choice.overlaps(name):
            limits: dict[str, dict[str, float]] = {name: {choice.view: overlap}}
            found = evaluate_scenes(scenes, (name,), (choice.difficulty,), limits, frame_ids=frames.frame_ids)
            losses.append(AveragePrecisionLoss(found, name, choice.view, choice.difficulty))
        return MeanOfLosses(tuple(losses))
