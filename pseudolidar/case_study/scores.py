"""How the case study scores detectors: KITTI average precision on the validation split."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.evaluation import LOOSE_OVERLAP, Evaluation, evaluate, left_out
from pseudolidar.files import InputError, write_file
from pseudolidar.kitti import ObjectDataset, Objects, read_objects
from pseudolidar.systems import Inputs, Model

logger = logging.getLogger(__name__)


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
    """The detectors' fixed test loss: 100 - AP40, moderate.

    `loose`: at the IoU of `LOOSE_OVERLAP` instead of the official one, for detectors that are too weak for that.
    """

    view: Literal["bev", "3d"]
    loose: bool

    def __post_init__(self) -> None:
        if self.view not in ("bev", "3d"):
            raise InputError(f"view: found {self.view!r}, expected 'bev' or '3d'")


def evaluate_results(
    results_dir: Path, frames: ObjectDataset, class_name: str, near_m: float, loose: bool = False
) -> Evaluation:
    """KITTI average precision of one detector's result files, `results_dir`/ID.txt of every frame.

    Pedestrians are scored at 0 to `near_m` m, as in the paper, everything else at any distance. `loose`: at the IoU of
    `LOOSE_OVERLAP` for 3D and BEV instead of the official one.

    Raises:
        FormatError: a missing or broken file.
    """
    return evaluate(
        [frame.objects() for frame in frames],
        [read_objects(results_dir / f"{frame_id}.txt", scored=True) for frame_id in frames.frame_ids],
        classes=(class_name,),
        difficulties=("easy", "moderate", "hard", "all"),
        depth_range=(0.0, near_m) if class_name == "Pedestrian" else None,
        min_overlap={class_name: LOOSE_OVERLAP[class_name]} if loose else None,
        frame_ids=frames.frame_ids,
    )


@dataclass(frozen=True)
class ScoredDetector(Model):
    """A detector as a vertex: its test loss is 100 - AP40, moderate, by frame of the validation split.

    `near_m`, m, up to which pedestrians are scored, and the choice of `loss` are the study's own.
    """

    class_name: str
    near_m: float = field(default=20.0, kw_only=True)
    loss: PrecisionChoice = field(default=PrecisionChoice("bev", loose=False), kw_only=True)

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
    def test_loss(self, inputs: Inputs) -> AveragePrecisionLoss:
        assert inputs.predictions is not None
        frames = ObjectDataset(inputs.data, "val")
        evaluation = evaluate_results(inputs.predictions, frames, self.class_name, self.near_m, self.loss.loose)
        return AveragePrecisionLoss(evaluation, self.class_name, self.loss.view, "moderate")
