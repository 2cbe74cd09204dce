"""An archive's stored detections in a folder, updated by one version after the other as results arrive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, Record, keep_record, write_file, write_npy
from pseudolidar.kitti import read_split, write_objects
from pseudolidar.updates import PredictionStore, Replace, Rule, Selection
from pseudolidar.updates.backfill.candidates import Candidates, frame_count, frames_to_run
from pseudolidar.updates.backfill.labelling import LABELS, LabelledFrames, Predictions
from pseudolidar.updates.backfill.results import stored_objects, write_replacements
from pseudolidar.updates.backfill.versions import Classifier, Version, classifier

_WHAT = "stored labels"


@dataclass(frozen=True)
class Waiting:
    """A version that lacks results, and the archive's `frames` on which it is to be run.

    `missing` has no results; it may include labelled frames, for the confusion matrix. `split_file` lists both.
    """

    version: Version
    frames: tuple[str, ...]
    missing: tuple[str, ...]
    split_file: Path


@dataclass(frozen=True, eq=False)
class Archive:
    """The stored labels of an archive's candidates and the versions that gave them; use it in a `with` block.

    Attributes:
        folder: holds the state; made if missing.
        labelled: frames outside the archive that no version was trained on.
        versions: oldest first, unique names; the labels of the first are stored at the beginning.
        min_iou: image IoU from which a detection labels a candidate, 0 to 1.
    """

    folder: Path
    candidates: Candidates
    labelled: LabelledFrames
    versions: tuple[Version, ...]
    min_iou: float

    def __post_init__(self) -> None:
        names = [version.name for version in self.versions]
        if not names or len(set(names)) < len(names):
            raise InputError(f"versions: found {', '.join(names) or 'none'}, expected one or more, each once")
        if not 0 <= self.min_iou <= 1:
            raise InputError(f"min_iou: found {self.min_iou:g}, expected 0 to 1")
        in_both = set(self.candidates.frame_ids) & set(self.labelled.candidates.frame_ids)
        if in_both:
            expected = "frames outside of it: confusion is not to be measured on what it corrects"
            raise InputError(f"labelled: found frame {min(in_both)} of the archive, expected {expected}")

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        if "store" in vars(self):
            self.store.close()

    @cached_property
    def store(self) -> PredictionStore:
        """The prediction store, its prior the frequency of each label on the labelled frames.

        FormatError where the folder was made with other candidates, labelled frames or `min_iou`.
        """
        inputs = {
            "candidates": self.candidates.digest,
            "labelled candidates": self.labelled.candidates.digest,
            "labels": self.labelled.digest,
        }
        keep_record(self.folder / "backfill.json", Record(_WHAT, {"overlap": self.min_iou}, inputs))
        if (self.folder / "store").is_dir():
            return PredictionStore(self.folder / "store")
        return PredictionStore.create(
            self.folder / "store", len(self.candidates), len(LABELS), self.labelled.prior, keep_votes=True
        )

    @cached_property
    def classifiers(self) -> tuple[Classifier, ...]:
        """The finished versions, and those after them up to the first without results on all labelled frames."""
        ready: list[Classifier] = []
        for version in self.versions:
            if len(ready) >= max(self.finished, 1) and version.missing(self.labelled.candidates.frame_ids):
                break
            ready.append(classifier(version, self.labelled, self.min_iou))
        return tuple(ready)

    @property
    def finished(self) -> int:
        """How many versions have updated the stored labels."""
        return len(self.store.steps)

    def advance(self, budget: float, rule: Rule, selection: Selection, seed: int) -> Waiting | None:
        """Update by one version after the other until results are missing; after an interruption call it again.

        Returns the version to run next and its frames; None when all versions are finished. The budget is a fraction or
        number of frames on which each version after the first is run, see `frame_count`; for selection and seed see
        `frames_to_run`.

        Raises:
            FormatError: missing results of the first version, broken results of any; or a folder made with other
                candidates, versions, order of versions, budget or rule.
            InputError: fewer versions than are finished; see `frame_count`, `frames_to_run`.
        """
        policy = {"budget": budget, "rule": repr(rule), "selection": selection, "seed": seed}
        count = frame_count(budget, len(self.candidates.frame_ids))
        finished = self.finished
        if finished > len(self.versions):
            expected = f"the {finished} that were taken in, and later ones"
            raise InputError(f"versions: found {len(self.versions)}, expected {expected}")
        for number in range(finished):
            self._keep_record(number, policy)
        if finished:
            # The step before may have ended between its labels and its files.
            self._write_step(finished - 1)
        for number, version in enumerate(self.versions[finished:], start=finished):
            frames = np.unique(self.candidates.frame)
            if number:
                frames = frames_to_run(self.candidates, self.store.entropy, count, selection, seed + number)
            names = tuple(self.candidates.frame_ids[frame] for frame in frames)
            missing = version.missing([*self.labelled.candidates.frame_ids, *names]) if number else []
            if missing:
                split_file = self._frames_file(version)
                _write_lines(split_file, sorted({*missing, *names}))
                return Waiting(version, names, tuple(missing), split_file)
            predicted = self.classifiers[number].classify(self.candidates, names).label
            # Both stand before the step is taken, so that no finished step lacks them.
            _write_lines(self._frames_file(version), names)
            self._record_file(number).unlink(missing_ok=True)
            self._keep_record(number, policy)
            items = self.store.request(self.candidates.items_of(frames))
            confusion = self.classifiers[number].confusion
            self.store.update(items, predicted[items], confusion, rule if number else Replace())
            self._write_step(number)
        return None

    def frames_of(self, number: int) -> list[str]:
        """The archive's frames on which a finished version was run."""
        return read_split(self._frames_file(self.versions[number]))

    def labels_after(self, number: int) -> NDArray[np.int16]:
        """The stored labels (N,) after the update by a finished version."""
        return np.load(self._labels_file(number))

    def sources(self) -> list[Predictions]:
        """The predictions of each finished version in the frames on which it was run, oldest version first."""
        return [
            self.classifiers[number].classify(self.candidates, self.frames_of(number))
            for number in range(self.finished)
        ]

    def write_results(self, sources: Sequence[Predictions]) -> Path:
        """Write `stored_objects` as KITTI result files results/ID.txt; the score is the label's posterior."""
        folder, label = self.folder / "results", np.asarray(self.store.labels)
        belief = np.take_along_axis(self.store.posterior, label[:, None].astype(np.int64), axis=1)[:, 0]
        frames = stored_objects(self.candidates, label, belief, sources)
        for name, objects in zip(self.candidates.frame_ids, frames, strict=True):
            write_objects(folder / f"{name}.txt", objects)
        return folder

    def replacements_file(self, number: int) -> Path:
        """The CSV file of the labels that a version changed, see `write_replacements`."""
        return self.folder / f"replacements_{self.versions[number].name}.csv"

    def _write_step(self, number: int) -> None:
        step = self.store.last_step
        if number and step is not None:
            write_replacements(self.replacements_file(number), self.candidates, step, self.store.posterior)
        write_npy(self._labels_file(number), self.store.labels)

    def _keep_record(self, number: int, policy: Mapping[str, Any]) -> None:
        version = self.versions[number]
        run = [*self.labelled.candidates.frame_ids, *self.frames_of(number)]
        settings = {"version": version.name, "lowest scores": version.min_score, **(policy if number else {})}
        keep_record(self._record_file(number), Record(_WHAT, settings, {"results": version.digest(run)}))

    def _record_file(self, number: int) -> Path:
        return self.folder / f"version_{number}.json"

    def _frames_file(self, version: Version) -> Path:
        return self.folder / f"frames_{version.name}.txt"

    def _labels_file(self, number: int) -> Path:
        return self.folder / f"labels_{self.versions[number].name}.npy"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_file(path, "".join(f"{line}\n" for line in lines))
