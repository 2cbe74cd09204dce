"""An archive's stored detections in a folder, taken forward one version at a time, as far as there are results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pseudolidar.files import InputError, Record, keep_record, replacing, write_npy
from pseudolidar.kitti import read_split
from pseudolidar.updates import PredictionStore, Replace, Rule
from pseudolidar.updates.backfill.candidates import Candidates
from pseudolidar.updates.backfill.frames import Selection, frame_count, frames_to_run
from pseudolidar.updates.backfill.labelling import LABELS, Answers, LabelledFrames
from pseudolidar.updates.backfill.results import write_replacements, write_results
from pseudolidar.updates.backfill.versions import Classifier, Version, classifier

_WHAT = "stored labels"


@dataclass(frozen=True)
class Waiting:
    """A version whose results are not all there.

    Attributes:
        version: which one.
        frames: of the archive to run it on.
        missing: frames without results, some of them labelled ones, for its confusion matrix.
        split_file: that lists them all.
    """

    version: Version
    frames: tuple[str, ...]
    missing: tuple[str, ...]
    split_file: Path


@dataclass(frozen=True, eq=False)
class Archive:
    """Stored labels of the candidates of an archive, and the versions that they come from; closed by `with`.

    Attributes:
        folder: of the state; made if missing.
        candidates: of the archive.
        labelled: frames outside of the archive that no version was trained on.
        versions: in the order of their arrival; the labels of the first are those stored at the beginning.
        min_overlap: of a detection with the candidate that it speaks of, in the image.

    Raises:
        InputError: no version, two of one name, an overlap outside 0 to 1, or a labelled frame in the archive.
    """

    folder: Path
    candidates: Candidates
    labelled: LabelledFrames
    versions: tuple[Version, ...]
    min_overlap: float

    def __post_init__(self) -> None:
        names = [version.name for version in self.versions]
        if not names or len(set(names)) < len(names):
            raise InputError(f"versions: found {', '.join(names) or 'none'}, expected one or more, each once")
        if not 0 <= self.min_overlap <= 1:
            raise InputError(f"min_overlap: found {self.min_overlap:g}, expected 0 to 1")
        shared = set(self.candidates.frame_ids) & set(self.labelled.candidates.frame_ids)
        if shared:
            expected = "frames outside of it: confusion is not to be measured on what it corrects"
            raise InputError(f"labelled: found frame {min(shared)} of the archive, expected {expected}")

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *error: object) -> None:
        if "store" in self.__dict__:
            self.store.close()

    @cached_property
    def store(self) -> PredictionStore:
        """The prediction store; where there is none, it begins with the shares of the labels on labelled frames.

        Raises:
            FormatError: one of other candidates.
        """
        inputs = {
            "candidates": self.candidates.digest,
            "labelled candidates": self.labelled.candidates.digest,
            "labels": self.labelled.digest,
        }
        keep_record(self.folder / "backfill.json", Record(_WHAT, {"overlap": self.min_overlap}, inputs))
        if (self.folder / "store").is_dir():
            return PredictionStore(self.folder / "store")
        return PredictionStore.create(
            self.folder / "store", len(self.candidates), len(LABELS), self.labelled.prior, keep_votes=True
        )

    @cached_property
    def classifiers(self) -> tuple[Classifier, ...]:
        """The versions taken in, and those after them with results on all labelled frames, up to the first without.

        Raises:
            FormatError: missing results of the first version, or of one that was taken in.
        """
        ready: list[Classifier] = []
        for version in self.versions:
            if len(ready) >= max(self.finished, 1) and version.missing(self.labelled.candidates.frame_ids):
                break
            ready.append(classifier(version, self.labelled, self.min_overlap))
        return tuple(ready)

    @property
    def finished(self) -> int:
        """How many versions are in the stored labels."""
        return len(self.store.steps)

    def advance(self, budget: float, rule: Rule, selection: Selection, seed: int) -> Waiting | None:
        """Take in one version after the other until results are missing; after an interruption just call it again.

        Args:
            budget: share or number of frames on which each version but the first is run, see `frame_count`.
            rule: when a stored label changes.
            selection: see `frames_to_run`; seed likewise.
            seed: the same one chooses the same frames.

        Returns:
            the version that has to be run, and on which frames; None when all are taken in.

        Raises:
            FormatError: missing results of the first version, broken ones of any; a folder with the labels of other
                candidates, of other versions or of the same in another order, or taken in with another budget or rule.
            InputError: fewer versions than were taken in; see `frame_count`, `frames_to_run`.
        """
        count = frame_count(budget, len(self.candidates.frame_ids))
        if self.finished > len(self.versions):
            expected = f"the {self.finished} that were taken in, and later ones"
            raise InputError(f"versions: found {len(self.versions)}, expected {expected}")
        for number, version in enumerate(self.versions):
            if number < self.finished:
                self._require_same_version(number, budget, rule, selection, seed)
                if number == self.finished - 1:
                    # The step before may have ended between its labels and its files.
                    self._write_step(number)
                continue
            frames = np.unique(self.candidates.frame)
            if number:
                frames = frames_to_run(self.candidates, self.store.entropy, count, selection, seed + number)
            names = tuple(self.candidates.frame_ids[frame] for frame in frames)
            missing = version.missing([*self.labelled.candidates.frame_ids, *names]) if number else []
            if missing:
                split_file = self._frames_file(version)
                _write_lines(split_file, sorted({*missing, *names}))
                return Waiting(version, names, tuple(missing), split_file)
            of_version = self.classifiers[number]
            said = of_version.classify(self.candidates, names).label
            # Both stand before the step is taken, so that no finished step lacks them.
            _write_lines(self._frames_file(version), names)
            self._version_file(number).unlink(missing_ok=True)
            self._require_same_version(number, budget, rule, selection, seed)
            items = self.store.request(self.candidates.items_of(frames))
            self.store.update(items, said[items], of_version.confusion, rule if number else Replace())
            self._write_step(number)
        return None

    def frames_of(self, number: int) -> list[str]:
        """The archive's frames that a version which is taken in was run on."""
        return read_split(self._frames_file(self.versions[number]))

    def labels_after(self, number: int) -> NDArray[np.int16]:
        """The stored labels (N,) after a version was taken in."""
        return np.load(self._labels_file(self.versions[number]))

    def sources(self) -> list[Answers]:
        """What each version that is taken in says in the frames that it was run on, oldest first."""
        return [
            self.classifiers[number].classify(self.candidates, self.frames_of(number))
            for number in range(self.finished)
        ]

    def write_results(self) -> Path:
        """Write the stored state as KITTI result files results/ID.txt, see `results.write_results`; the folder."""
        belief = np.take_along_axis(self.store.posterior, self.store.labels[:, None].astype(np.int64), axis=1)[:, 0]
        write_results(self.folder / "results", self.candidates, np.asarray(self.store.labels), belief, self.sources())
        return self.folder / "results"

    def replacements_file(self, version: Version) -> Path:
        """The table of what a version changed, see `results.write_replacements`."""
        return self.folder / f"replacements_{version.name}.csv"

    def _write_step(self, number: int) -> None:
        version, step = self.versions[number], self.store.last_step
        assert step is not None
        if number:
            changed = step.before != step.after
            write_replacements(
                self.replacements_file(version),
                self.candidates,
                step.items[changed],
                step.before[changed],
                step.after[changed],
                self.store.posterior,
            )
        write_npy(self._labels_file(version), self.store.labels)

    def _require_same_version(self, number: int, budget: float, rule: Rule, selection: Selection, seed: int) -> None:
        version = self.versions[number]
        run = [*self.labelled.candidates.frame_ids, *self.frames_of(number)]
        settings: dict[str, Any] = {"version": version.name, "lowest scores": version.min_score}
        if number:
            settings |= {"budget": budget, "rule": repr(rule), "selection": selection, "seed": seed}
        keep_record(self._version_file(number), Record(_WHAT, settings, {"results": version.digest(run)}))

    def _version_file(self, number: int) -> Path:
        return self.folder / f"version_{number}.json"

    def _frames_file(self, version: Version) -> Path:
        return self.folder / f"frames_{version.name}.txt"

    def _labels_file(self, version: Version) -> Path:
        return self.folder / f"labels_{version.name}.npy"


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))
