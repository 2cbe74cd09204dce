"""The label of each candidate box by detections or by ground truth: background, Car, Pedestrian or Cyclist."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import CLASSES, StackedObjects, bbox_iou, read_frames
from pseudolidar.evaluation.protocol import NEUTRAL
from pseudolidar.files import files_digest
from pseudolidar.kitti import ObjectDataset
from pseudolidar.updates.backfill.candidates import Candidates

LABELS = ("background", *CLASSES)
"""The K labels of an item; background is 0."""
BACKGROUND = 0


@dataclass(frozen=True, eq=False)
class Predictions:
    """One version's labels (N,) of N candidates, of `LABELS`.

    `row` (N,) is the row of `detections.objects` that gave the label, -1 for background.
    """

    label: NDArray[np.int16]
    row: NDArray[np.int64]
    detections: StackedObjects


@dataclass(frozen=True, eq=False)
class Truth:
    """The true labels of N candidates.

    Attributes:
        label: (N,), of `LABELS`.
        counts: (N,), whether the candidate is scored. Those on a Van or Person_sitting and in DontCare regions are not,
            as in KITTI; a detection on another object outside the classes, e.g. a Truck, is wrong.
        objects, covered: by class, the number of labelled objects, and how many of them match a candidate; no update
            rule can find the others.
    """

    label: NDArray[np.int16]
    counts: NDArray[np.bool_]
    objects: Mapping[str, int]
    covered: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class LabelledFrames:
    """Candidates of frames with labels; `truth` comes from these labels, `digest` identifies the label files."""

    candidates: Candidates
    labels: StackedObjects
    truth: Truth
    digest: str

    @property
    def prior(self) -> NDArray[np.float64]:
        """(K,), the frequency of each label among the candidates that count, with Laplace smoothing."""
        counts = np.bincount(self.truth.label[self.truth.counts], minlength=len(LABELS)) + 1.0
        return counts / counts.sum()

    @classmethod
    def read(cls, dataset: ObjectDataset, candidates: Candidates, min_iou: float) -> "LabelledFrames":
        """Read the labels of the candidates' frames; FormatError for a missing or broken label file."""
        paths = [dataset.frame(name).path("label_2") for name in candidates.frame_ids]
        labels = read_frames([str(path) for path in paths], scored=False)
        return cls(candidates, labels, truth(candidates, labels, min_iou), files_digest(paths))


def matching_rows(candidates: Candidates, objects: StackedObjects, min_iou: float) -> NDArray[np.int64]:
    """For each of N candidates the matching row of `objects.objects`, or -1 where no IoU reaches `min_iou`.

    One-to-one, pairs with the largest IoU in the image first; of equal IoUs the earlier candidate, then object. By IoU
    and not by score: it tells which box a detection belongs to, and scores of different detectors (log probabilities,
    logits) are not on one scale.
    """
    rows = np.full(len(candidates), -1)
    start = candidates.start
    for frame in np.flatnonzero(np.diff(start) * np.diff(objects.start)).tolist():
        first, own = start[frame], objects.start[frame : frame + 2]
        iou = bbox_iou(candidates.box2d[first : start[frame + 1]], objects.objects.box2d[own[0] : own[1]])
        i, j = np.nonzero((iou >= min_iou) & (iou > 0))
        taken = set()
        for pair in np.argsort(-iou[i, j], kind="stable"):
            candidate, row = first + i[pair], own[0] + j[pair]
            if rows[candidate] < 0 and row not in taken:
                rows[candidate] = row
                taken.add(row)
    return rows


def predictions(candidates: Candidates, detections: StackedObjects, min_iou: float) -> Predictions:
    """The candidates' labels by detections of Cars, Pedestrians and Cyclists; see `matching_rows`."""
    rows = matching_rows(candidates, detections, min_iou)
    return Predictions(_labels_of(detections)[rows], rows, detections)


def truth(candidates: Candidates, labels: StackedObjects, min_iou: float) -> Truth:
    """The candidates' labels by ground truth; see `matching_rows`."""
    name = labels.objects.class_name
    things = labels.where(np.isin(name, (*CLASSES, *NEUTRAL.values())))
    rows = matching_rows(candidates, things, min_iou)
    label = _labels_of(things)[rows]
    is_neutral = (rows >= 0) & (label == BACKGROUND)
    in_region = (rows < 0) & _in_regions(candidates, labels.where(name == "DontCare"))
    return Truth(
        label,
        ~(is_neutral | in_region),
        {class_name: int((name == class_name).sum()) for class_name in CLASSES},
        {class_name: int((label == LABELS.index(class_name)).sum()) for class_name in CLASSES},
    )


def _labels_of(objects: StackedObjects) -> NDArray[np.int16]:
    """(M + 1,): the label of each object; the last is background, where the row -1 finds it."""
    names = objects.objects.class_name
    label = np.zeros(len(names) + 1, np.int16)
    for number, class_name in enumerate(LABELS):
        label[:-1][names == class_name] = number
    return label


def _in_regions(candidates: Candidates, regions: StackedObjects) -> NDArray[np.bool_]:
    """Which candidates have more than half of their area in one region."""
    inside = np.zeros(len(candidates), np.bool_)
    start = candidates.start
    for frame in np.flatnonzero(np.diff(regions.start)).tolist():
        box = candidates.box2d[start[frame] : start[frame + 1], None]
        region = regions[frame].box2d[None]
        sides = np.minimum(box[..., 2:], region[..., 2:]) - np.maximum(box[..., :2], region[..., :2])
        common = np.prod(np.maximum(sides, 0), axis=-1)
        area = np.prod(box[..., 2:] - box[..., :2], axis=-1)
        inside[start[frame] : start[frame + 1]] = (common > 0.5 * area).any(axis=1)
    return inside
