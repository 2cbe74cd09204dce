"""Candidate boxes: the fixed 2D boxes of an archive of frames, each of them an item of the prediction store."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pseudolidar.detectors.boxes2d import Boxes2d, ScoreKind, read_boxes
from pseudolidar.evaluation import bbox_iou
from pseudolidar.files import FormatError, InputError


@dataclass(frozen=True, eq=False)
class Candidates:
    """N candidate boxes in F frames.

    Attributes:
        frame_ids: of the F frames.
        frame: int64 (N,), the frame of each box, 0 to F - 1, rising.
        box2d: float64 (N, 4), left, top, right, bottom in px.
    """

    frame_ids: tuple[str, ...]
    frame: NDArray[np.int64]
    box2d: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def start(self) -> NDArray[np.int64]:
        """int64 (F + 1,); frame f has the boxes start[f] to start[f + 1]."""
        return np.searchsorted(self.frame, np.arange(len(self.frame_ids) + 1))

    @property
    def digest(self) -> str:
        """16 hex digits that stand for frames and boxes: equal candidates have the same."""
        text = "\n".join(self.frame_ids).encode()
        return hashlib.sha256(text + self.frame.tobytes() + self.box2d.tobytes()).hexdigest()[:16]

    def items_of(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """The boxes of some frames, int64, rising."""
        return np.flatnonzero(np.isin(self.frame, frames))


def read_candidates(
    path: str | Path,
    frame_ids: Sequence[str],
    max_overlap: float = 0.5,
    min_score: float = 0.3,
    scores: ScoreKind = "probability",
) -> Candidates:
    """Read the candidates of some frames, whatever class the 2D detector gave them.

    Of boxes that overlap by more than `max_overlap` only the one of the highest score stays, so that one object is one
    item: otherwise a version that finds it once would be wrong about its other boxes.

    Args:
        path: a folder of KITTI result files, their 3D fields unread, or a file `image_path class_id score x1 y1 x2 y2`.
        frame_ids: of the frames; one that the file does not name has no candidates.
        max_overlap: intersection over union, 0 to 1.
        min_score: boxes of lower scores are left out; a probability.
        scores: what the boxes' scores are.

    Raises:
        FormatError: nothing there, a frame without a result file, a broken file, no candidate at all.
        InputError: `max_overlap` outside 0 to 1.
    """
    if not 0 <= max_overlap <= 1:
        raise InputError(f"max_overlap: found {max_overlap}, expected 0 to 1")
    path = Path(path)
    if not path.exists():
        raise FormatError(path, "file", "nothing there", "candidate boxes: a folder of KITTI results, or one file")
    boxes = read_boxes(path, frame_ids, scores)
    kept = [distinct_boxes(boxes.get(frame_id, Boxes2d.empty()), max_overlap, min_score) for frame_id in frame_ids]
    frame = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
    if not len(frame):
        raise FormatError(path, "boxes", f"none of score {min_score:g} in {len(frame_ids)} frames", "candidate boxes")
    return Candidates(tuple(frame_ids), frame, np.concatenate(kept))


def distinct_boxes(boxes: Boxes2d, max_overlap: float, min_score: float) -> NDArray[np.float64]:
    """The boxes (M, 4) of one frame that stay, the best first; see `read_candidates`."""
    score = np.ones(len(boxes)) if boxes.score is None else boxes.score
    order = np.argsort(-score, kind="stable")[: int((score >= min_score).sum())]
    box2d = boxes.box2d[order]
    is_kept = np.ones(len(box2d), np.bool_)
    for i, overlap in enumerate(bbox_iou(box2d, box2d)):
        if is_kept[i]:
            is_kept[i + 1 :] &= overlap[i + 1 :] <= max_overlap
    return box2d[is_kept]
