"""The old detector and the new one together: scores on one scale, then suppression, as a vertex behind both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pseudolidar.case_study.scores import ScoredDetector
from pseudolidar.evaluation import LOOSE_OVERLAP, bbox_iou, bev_iou, object_outcomes
from pseudolidar.evaluation.flips import Criterion
from pseudolidar.kitti import ObjectDataset, Objects, read_objects, write_objects
from pseudolidar.systems import Inputs, Step
from pseudolidar.systems.remedies import halves

# Of one object: overlapping on the ground (as PointRCNN suppresses), or found from one and the same 2D box.
_BEV_IOU, _BBOX_IOU = 0.1, 0.7


def score_odds(scores: NDArray[np.float64], is_right: NDArray[np.bool_]) -> tuple[float, float]:
    """Slope and offset of the log odds that a detection is right, linear in its score (Platt 1999), by likelihood.

    Platt's targets keep both finite where all are right or wrong. The slope is at least 0; it is 0 without detections.
    """
    if not len(scores):
        return 0.0, 0.0
    # A quarter of a second to import.
    from sklearn.linear_model import LogisticRegression

    right, wrong = int(is_right.sum()), int((~is_right).sum())
    target = np.where(is_right, (right + 1) / (right + 2), 1 / (wrong + 2))
    mean, spread = float(scores.mean()), float(scores.std()) or 1.0
    x = np.tile((scores - mean) / spread, 2)[:, None]
    outcome = np.repeat([1, 0], len(scores))
    fitted = LogisticRegression(C=1e6).fit(x, outcome, sample_weight=np.concatenate([target, 1 - target]))
    slope = max(float(fitted.coef_[0, 0]), 0.0) / spread
    offset = float(fitted.intercept_[0]) if slope else float(np.log(target.mean() / (1 - target.mean())))
    return slope, offset - slope * mean


def fused(older: Objects, newer: Objects) -> Objects:
    """The detections of two detectors in a frame, scores on one scale: of one object the one of the higher score.

    Only detections of the other detector are suppressed: what a detector finds by itself it has suppressed already.
    """
    both = Objects.concatenate([older, newer])
    assert both.score is not None
    is_newer = np.arange(len(both)) >= len(older)
    same = (bev_iou(both.box3d, both.box3d) > _BEV_IOU) | (bbox_iou(both.box2d, both.box2d) > _BBOX_IOU)
    kept: list[int] = []
    for one in np.argsort(-both.score, kind="stable"):
        if not any(same[one, other] and is_newer[one] != is_newer[other] for other in kept):
            kept.append(int(one))
    return both[np.array(kept, np.int64)]


@dataclass(frozen=True)
class FusedDetector(ScoredDetector):
    """The detections of two `parents`, the older first, their scores as log odds that they are right, suppressed.

    The odds are fitted on labels of the validation split, which neither detector was trained on: those of each half of
    its frames (`halves`, drawn by `seed`) on the other half, so that no frame's own labels enter its scores. Right is a
    match at the looser IoU in bird's eye view, at any difficulty.
    """

    parents: tuple[str, str] = field(kw_only=True)
    seed: tuple[int, ...] = field(kw_only=True)
    versions: ClassVar[Mapping[Step, int]] = {"predict": 1, "test": 1}

    @override
    def settings(self, step: Step) -> Mapping[str, Any]:
        if step == "test":
            return {"near_m": self.near_m}
        return {"class": self.class_name, "seed": list(self.seed), "bev_iou": _BEV_IOU, "bbox_iou": _BBOX_IOU}

    def run_predict(self, inputs: Inputs, folder: Path) -> None:
        """Write what both find in the validation split."""
        frames = ObjectDataset(inputs.data, "val")
        labels = [frame.objects() for frame in frames]
        first, second = halves(len(frames), np.random.default_rng(self.seed))
        on_one_scale: dict[str, list[Objects]] = {}
        for parent in self.parents:
            paths = [inputs.parents[parent] / f"{frame_id}.txt" for frame_id in frames.frame_ids]
            found = [read_objects(path, scored=True) for path in paths]
            on_one_scale[parent] = list(found)
            for fitted, applied in ((first, second), (second, first)):
                odds = self._odds([labels[i] for i in fitted], [found[i] for i in fitted])
                for i in applied:
                    on_one_scale[parent][i] = _rescored(found[i], *odds)
        for frame_id, older, newer in zip(frames.frame_ids, *on_one_scale.values(), strict=True):
            write_objects(folder / f"{frame_id}.txt", fused(older, newer))

    def _odds(self, labels: Sequence[Objects], found: Sequence[Objects]) -> tuple[float, float]:
        criterion = Criterion(self.class_name, "bev", "all", LOOSE_OVERLAP[self.class_name]["bev"])
        outcomes = [one for one in object_outcomes(criterion.evaluate(labels, found)) if one.view == "bev"]
        scored = [(one.score, one.outcome == "matched") for one in outcomes if one.score is not None]
        scores, is_right = (np.array([pair[i] for pair in scored]) for i in (0, 1))
        return score_odds(scores.astype(np.float64), is_right.astype(np.bool_))


def _rescored(found: Objects, slope: float, offset: float) -> Objects:
    assert found.score is not None
    return replace(found, score=slope * found.score + offset)
