"""Versions of a detection system as classifiers of candidate boxes: results, operating points, confusion matrices."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.evaluation import CLASSES, StackedObjects, read_frames
from pseudolidar.evaluation.flips import Criterion, best_threshold
from pseudolidar.files import InputError, combined_digest, files_digest
from pseudolidar.kitti import Objects
from pseudolidar.updates import ConfusionMatrix
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.labelling import LABELS, LabelledFrames, Predictions, predictions


@dataclass(frozen=True)
class Version:
    """One version of the system, as its result files; InputError for a bad name, no folder or an unknown class.

    Attributes:
        name: e.g. u, or ensemble; part of file names.
        folders: of KITTI result files ID.txt; several where each detector has its own, e.g. for each class.
        min_score: by class, detections with lower scores are left out; None: `best_scores`.
    """

    name: str
    folders: tuple[Path, ...]
    min_score: Mapping[str, float] | None

    def __post_init__(self) -> None:
        if not self.name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            raise InputError(f"versions: found the name {self.name!r}, expected letters, digits, and any of - _ .")
        if not self.folders:
            raise InputError(f"version {self.name}: found no folder, expected one or more with KITTI result files")
        unknown = sorted(set(self.min_score or ()) - set(CLASSES))
        if unknown:
            raise InputError(f"min_score of {self.name}: found class {unknown[0]}, expected {', '.join(CLASSES)}")

    def missing(self, frame_ids: Sequence[str]) -> list[str]:
        """The frames without a result file in some folder."""
        return [name for name in frame_ids if any(not (folder / f"{name}.txt").is_file() for folder in self.folders)]

    def digest(self, frame_ids: Sequence[str]) -> str:
        """Digest of the result files of these frames."""
        return combined_digest(
            {name: files_digest([folder / f"{name}.txt" for folder in self.folders]) for name in frame_ids}
        )

    def read(self, frame_ids: Sequence[str], run: Collection[str]) -> StackedObjects:
        """All detections of KITTI's scored classes; FormatError for a missing or broken result file.

        `run` are the frames on which the version was run; the other `frame_ids` have no detections.
        """
        have = set(run)
        folders = [
            read_frames([str(folder / f"{name}.txt") if name in have else None for name in frame_ids], scored=True)
            for folder in self.folders
        ]
        joined = [Objects.concatenate(parts) for parts in zip(*folders, strict=True)]
        found = StackedObjects.stack(joined, scored=True)
        return found.where(np.isin(found.objects.class_name, CLASSES))


def versions_from(given: Mapping[str, Any], min_score: float | Mapping[str, float] | None) -> tuple[Version, ...]:
    """Versions as a configuration gives them, in its order; InputError for another shape.

    `given`: name -> a folder of result files, several, or {results: one or several, min_score: ...}. `min_score` is for
    versions without their own: a number for all classes, or by class; None: `best_scores`.
    """
    versions = []
    for name, what in given.items():
        one = dict(what) if isinstance(what, Mapping) else {"results": what}
        results, least = one.pop("results", None), one.pop("min_score", min_score)
        folders = [results] if isinstance(results, str) else results
        if one or not isinstance(folders, Sequence) or not all(isinstance(folder, str) for folder in folders):
            expected = "a folder, a list of folders, or {results: ..., min_score: ...}"
            raise InputError(f"version {name}: found {what!r}, expected {expected}")
        if isinstance(least, int | float):
            least = dict.fromkeys(CLASSES, float(least))
        versions.append(Version(str(name), tuple(Path(folder) for folder in folders), least))
    return tuple(versions)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A version at its operating point, `min_score` by class.

    Attributes:
        min_iou: image IoU from which a detection labels a candidate.
        confusion: over `LABELS`, from a labelled split.
        covered: fraction of the version's detections on that split that match a candidate; the others belong to no item
            and are not stored. NaN without detections.
    """

    version: Version
    min_score: Mapping[str, float]
    min_iou: float
    confusion: ConfusionMatrix
    covered: float

    def classify(self, candidates: Candidates, run: Collection[str]) -> Predictions:
        """The version's labels of the candidates in the frames on which it was run."""
        detections = self.version.read(candidates.frame_ids, run)
        return predictions(candidates, above(detections, self.min_score), self.min_iou)


def classifier(version: Version, labelled: LabelledFrames, min_iou: float) -> Classifier:
    """A version with its operating point and confusion matrix (Laplace smoothing) from labelled frames."""
    candidates, truth = labelled.candidates, labelled.truth
    detections = version.read(candidates.frame_ids, candidates.frame_ids)
    min_score = version.min_score
    if min_score is None:
        min_score = best_scores(labelled.labels, detections, min_iou)
    found = predictions(candidates, above(detections, min_score), min_iou)
    confusion = ConfusionMatrix.estimate(found.label[truth.counts], truth.label[truth.counts], len(LABELS))
    count = len(found.detections.objects)
    covered = float((found.row >= 0).sum() / count) if count else float("nan")
    return Classifier(version, min_score, min_iou, confusion, covered)


def best_scores(labels: Sequence[Objects], detections: StackedObjects, min_iou: float) -> dict[str, float]:
    """For each class the score of highest F1 in the image (`best_threshold`); infinity if no detection is right."""
    criteria = (Criterion(class_name, "bbox", "all", min_iou) for class_name in CLASSES)
    return {one.class_name: best_threshold(one.evaluate(labels, detections), one) for one in criteria}


def above(detections: StackedObjects, min_score: Mapping[str, float]) -> StackedObjects:
    """The detections that reach the score of their class; a class without a score keeps all."""
    score = detections.objects.score
    assert score is not None
    least: NDArray[np.float64] = np.full(len(score), -np.inf)
    for class_name, value in min_score.items():
        least[detections.objects.class_name == class_name] = value
    return detections.where(score >= least)
