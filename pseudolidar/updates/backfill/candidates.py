"""Candidate boxes (the fixed 2D boxes of an archive, one item each), and which frames to run again."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d, ScoreKind, read_boxes
from pseudolidar.evaluation import bbox_iou
from pseudolidar.files import FormatError, InputError
from pseudolidar.updates import Selection


@dataclass(frozen=True, eq=False)
class Candidates:
    """N boxes `box2d` (N, 4) left, top, right, bottom in px; `frame` (N,) of each, 0 to F - 1, rising."""

    frame_ids: tuple[str, ...]
    frame: NDArray[np.int64]
    box2d: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def start(self) -> NDArray[np.int64]:
        """(F + 1,); the boxes of frame f are start[f] to start[f + 1] (exclusive)."""
        return np.searchsorted(self.frame, np.arange(len(self.frame_ids) + 1))

    @property
    def digest(self) -> str:
        """16 hex digits that identify frames and boxes."""
        text = "\n".join(self.frame_ids).encode()
        return hashlib.sha256(text + self.frame.tobytes() + self.box2d.tobytes()).hexdigest()[:16]

    def items_of(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items in some frames, rising."""
        return np.flatnonzero(np.isin(self.frame, frames))


def read_candidates(
    path: str | Path, frame_ids: Sequence[str], max_iou: float, min_score: float, scores: ScoreKind
) -> Candidates:
    """Read the candidates of some frames, of every class; FormatError where there are none.

    Where the IoU of two boxes exceeds `max_iou` only the one with the higher score stays, so that one object is one
    item: otherwise a version that finds it once would be wrong about its other boxes.

    Args:
        path: a folder of KITTI result files (3D fields are not read), or a file
            `image_path class_id score x1 y1 x2 y2`; a frame that the file does not name has no candidates.
        min_score: a probability; boxes with lower scores are left out.
        scores: scale of the scores that are read.
    """
    if not 0 <= max_iou <= 1:
        raise InputError(f"max_iou: found {max_iou}, expected 0 to 1")
    path = Path(path)
    if not path.exists():
        raise FormatError(path, "file", "nothing there", "candidate boxes: a folder of KITTI results, or one file")
    boxes = read_boxes(path, frame_ids, scores)
    kept = [distinct_boxes(boxes.get(frame_id, Boxes2d.empty()), max_iou, min_score) for frame_id in frame_ids]
    frame = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
    if not len(frame):
        raise FormatError(path, "boxes", f"none of score {min_score:g} in {len(frame_ids)} frames", "candidate boxes")
    return Candidates(tuple(frame_ids), frame, np.concatenate(kept))


def distinct_boxes(boxes: Boxes2d, max_iou: float, min_score: float) -> NDArray[np.float64]:
    """The boxes (M, 4) of one frame that stay, the best first; see `read_candidates`."""
    score = np.ones(len(boxes)) if boxes.score is None else boxes.score
    order = np.argsort(-score, kind="stable")[: int((score >= min_score).sum())]
    box2d = boxes.box2d[order]
    is_kept = np.ones(len(box2d), np.bool_)
    for i, iou in enumerate(bbox_iou(box2d, box2d)):
        if is_kept[i]:
            is_kept[i + 1 :] &= iou[i + 1 :] <= max_iou
    return box2d[is_kept]


def frame_count(budget: float, frames: int) -> int:
    """The number of frames in a budget: up to 1 a fraction of all frames, rounded up; above 1 that whole number."""
    if not 0 < budget <= max(frames, 1) or (budget > 1 and budget != int(budget)):
        raise InputError(f"budget: found {budget:g}, expected a fraction above 0, up to 1, or 2 to {frames} frames")
    # Without the last digits, or 0.07 of 100 frames were 8.
    return math.ceil(round(budget * frames, 9)) if budget <= 1 else int(budget)


def frames_to_run(
    candidates: Candidates, entropy: NDArray[np.floating], count: int, selection: Selection, seed: int
) -> NDArray[np.int64]:
    """The frames on which to run a new version, at most `count`, rising: the most uncertain ones, or random ones.

    A run of a frame renews the labels of all its items, so a frame is worth the sum of their entropies (N,), nats. The
    seed orders ties. Frames without candidates are never chosen: nothing stored could change.
    """
    frames = np.random.default_rng(seed).permutation(np.unique(candidates.frame))
    if selection == "entropy":
        worth = np.bincount(candidates.frame, np.asarray(entropy, np.float64), len(candidates.frame_ids))
        # Sums of float32 in other orders: what differs in the last digits alone is a tie.
        frames = frames[np.argsort(-np.round(worth[frames], 5), kind="stable")]
    elif selection != "random":
        raise InputError(f"selection: found {selection!r}, expected entropy or random")
    return np.sort(frames[:count])
