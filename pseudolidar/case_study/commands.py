"""Models of other people as vertices: a detector or a disparity model that is a command, a folder of disparity maps."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pseudolidar.case_study.disparity_errors import TEST_VERSION, disparity_loss, measure_disparity
from pseudolidar.case_study.oracle import truth_of
from pseudolidar.case_study.scores import PrecisionChoice, precision_loss, write_scores
from pseudolidar.files import FormatError, InputError, combined_digest, files_digest, replacing, track
from pseudolidar.kitti import DISPARITY_SUFFIXES, Frame, ObjectDataset, disparity_path, read_disparity, read_objects
from pseudolidar.systems import Inputs, ItemLosses, Resources, Step
from pseudolidar.systems.external import AS_BEFORE, CHANGED, SPLITS, Command

# Raised when the copies would be others.
_FOLDER_VERSION = 1

# The vertices behind {clouds} and {disparity}.
_CLOUD, _DISPARITY = "cloud", "u"


@dataclass(frozen=True)
class CommandDetector(Command):
    """A detector in whatever framework: commands that read KITTI folders and write KITTI result files.

    The templates may hold {data} (KITTI's object layout), {train_split} and {val_split} (files of frame ids), {clouds}
    (ID.bin, velodyne frame) or {disparity} (ID.npy, ID.png or ID.pfm), {class_name} and {output}; `train` also {seed},
    `predict` also {model}, the folder that `train` filled. `train` writes whatever it likes into {output}; `predict`
    writes {output}/ID.txt with scores for every frame of the validation split, empty where it found nothing.

    Attributes:
        class_name: which is scored.
        near_m: m, up to which pedestrians are scored; of a study, its own.
        loss: which average precision is the test loss; of a study, its own.
        train, predict, files, directory, cpus, gpus, resumes: the commands, see `Command`.

    Raises:
        InputError: a template with an unknown placeholder, without {output}, {model} or what the detector looks at.
    """

    class_name: str
    near_m: float = field(default=20.0, kw_only=True)
    loss: PrecisionChoice = field(default=PrecisionChoice("bev", loose=False), kw_only=True)

    def __post_init__(self) -> None:
        names = self.require_templates(("clouds", "disparity", "class_name"))
        if not names & {"clouds", "disparity"}:
            raise InputError(f"predict: found neither {{clouds}} nor {{disparity}} in {self.predict!r}, expected one")

    @property
    def parents(self) -> tuple[str, ...]:
        """The vertices that the templates ask for."""
        text = f"{self.train or ''} {self.predict}"
        asked = {"{clouds}": _CLOUD, "{disparity}": _DISPARITY}
        return tuple(vertex for placeholder, vertex in asked.items() if placeholder in text)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """The step's template, class and files; of a test what is scored."""
        if step == "test":
            return {"class": self.class_name, "near_m": self.near_m}
        return {**self.command_settings(step), "class": self.class_name}

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Call a command and check what it left, or score.

        Raises:
            CommandError: see `run_command`.
            FormatError: a frame without a result file, or with a broken one; no model; files that have changed.
        """
        if step == "test":
            write_scores(inputs, folder, self.class_name, self.near_m)
            return
        others: dict[str, str | Path] = {"class_name": self.class_name}
        if _CLOUD in inputs.parents:
            others["clouds"] = inputs.parents[_CLOUD].resolve()
        if _DISPARITY in inputs.parents:
            others["disparity"] = _disparity_folder(inputs.parents[_DISPARITY], inputs.data)
        output = self.call(step, inputs, others, folder)
        if step == "train":
            return
        frame_ids = ObjectDataset(inputs.data, "val").frame_ids
        results = [output / f"{frame_id}.txt" for frame_id in frame_ids]
        missing = [path for path in results if not path.is_file()]
        if missing:
            found = f"nothing there ({len(missing)} of {len(results)} frames have no result file)"
            raise FormatError(missing[0], "file", found, "a result file for each frame, empty where nothing was found")
        for path in results:
            read_objects(path, scored=True)
        _take_over(results, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """100 - AP40 by frame, as of the study's own detectors."""
        return precision_loss(inputs, self.class_name, self.near_m, self.loss)


@dataclass(frozen=True)
class CommandDisparity(Command):
    """A disparity model in whatever framework: commands that read KITTI folders and write disparity maps.

    The templates may hold {data}, {train_split}, {val_split} and {output}; `train` also {seed}, `predict` also {model}.
    `predict` writes {output}/ID.npy (float, px), ID.png (16 bit, 256 x) or ID.pfm for every frame of both splits.

    Attributes:
        train, predict, files, directory, cpus, gpus, resumes: the commands, see `Command`.

    Raises:
        InputError: a template with an unknown placeholder, without {output} or {model}.
    """

    def __post_init__(self) -> None:
        self.require_templates(())

    def version(self, step: Step) -> int:
        """Version of how commands are called, for the test that of the measurement."""
        return TEST_VERSION if step == "test" else super().version(step)

    def settings(self, step: Step) -> Mapping[str, Any]:
        """Template and files of a step's command; empty for the test."""
        return {} if step == "test" else self.command_settings(step)

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Call a command and check what it left, or test.

        Raises:
            CommandError: see `run_command`.
            FormatError: a frame without a map, or with a broken one or one of another size; no model; changed files.
        """
        if step == "test":
            measure_disparity(inputs, folder)
            return
        output = self.call(step, inputs, {}, folder)
        if step == "predict":
            maps = require_maps(output, _frames(inputs.data))
            for path, frame in track(list(zip(maps, _frames(inputs.data), strict=True)), "disparity maps, checked"):
                _require_fit(path, frame)
            _take_over(maps, folder)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE by frame, as of the study's own models."""
        return disparity_loss(inputs)


@dataclass(frozen=True)
class DisparityFolder:
    """Disparity maps that somebody else's model made: ID.npy (float), ID.png (16 bit, 256 x) or ID.pfm, px, 0 unknown.

    The maps are copied, as many bytes as any other model's predictions take: through links the user's next model,
    written over this one, would change results that the study holds for finished.

    Attributes:
        path: the folder.

    Raises:
        FormatError: no such folder, or no map in it.
    """

    path: str | Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path).resolve())
        if not self._names:
            found = "none" if Path(self.path).is_dir() else "nothing there"
            raise FormatError(self.path, "folder", found, f"disparity maps: {', '.join(DISPARITY_SUFFIXES)}")

    @property
    def _names(self) -> list[str]:
        folder = Path(self.path)
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(DISPARITY_SUFFIXES))

    @cached_property
    def _digests(self) -> dict[str, str]:
        # Kept, also on the way to another process: the study knows its stages by the maps as they were at its start.
        return {name: files_digest([Path(self.path) / name]) for name in self._names}

    @property
    def steps(self) -> tuple[Step, ...]:
        """Prediction (copying the maps) and test; there is nothing to train."""
        return ("predict", "test")

    def settings(self, step: Step) -> Mapping[str, Any]:
        """One digest of all maps; where the folder lies doesn't matter."""
        return {} if step == "test" else {"maps": combined_digest(self._digests)}

    def version(self, step: Step) -> int:
        """Version of how maps are copied, for the test that of the measurement."""
        return TEST_VERSION if step == "test" else _FOLDER_VERSION

    def resources(self, step: Step) -> Resources:
        """One processor thread, no GPU."""
        return Resources()

    def run(self, step: Step, inputs: Inputs, folder: Path) -> None:
        """Copy the maps of both splits, each checked, or test; copies that are there are kept.

        Raises:
            FormatError: a frame without a map, or with a broken one, one of another size, or one that was changed.
        """
        if step == "test":
            measure_disparity(inputs, folder)
            return
        frames = _frames(inputs.data)
        maps = require_maps(Path(self.path), frames)
        for path, frame in track(list(zip(maps, frames, strict=True)), "disparity maps, copied"):
            if (folder / path.name).is_file():
                continue
            _require_fit(path, frame)
            if files_digest([path]) != self._digests.get(path.name):
                raise FormatError(path, "file", CHANGED, AS_BEFORE)
            with replacing(folder / path.name) as temporary:
                shutil.copyfile(path, temporary)

    def test_loss(self, inputs: Inputs) -> ItemLosses:
        """Disparity MAE by frame, as of the study's own models."""
        return disparity_loss(inputs)


def require_maps(folder: Path, frames: Sequence[Frame]) -> list[Path]:
    """The disparity map of every frame, see `kitti.disparity_path`.

    Raises:
        FormatError: names the first frame without one, and how many there are.
    """
    there = {entry.name for entry in os.scandir(folder)}
    missing = [one for one in frames if not there & {f"{one.frame_id}{suffix}" for suffix in DISPARITY_SUFFIXES}]
    if missing:
        found = f"nothing there ({len(missing)} of {len(frames)} frames have no map)"
        raise FormatError(
            folder / f"{missing[0].frame_id}.npy", "file", found, f"a disparity map: {', '.join(DISPARITY_SUFFIXES)}"
        )
    return [disparity_path(folder, frame.frame_id) for frame in frames]


def _frames(data: Path) -> list[Frame]:
    return [frame for split in SPLITS for frame in ObjectDataset(data, split)]


def _require_fit(path: Path, frame: Frame) -> None:
    height, width = frame.image_size()
    found = read_disparity(path).shape
    if found != (height, width):
        expected = f"{width} x {height} px, the size of the frame's image"
        raise FormatError(path, "size", f"{found[1]} x {found[0]} px", expected)


def _take_over(paths: Sequence[Path], folder: Path) -> None:
    """Checked files of a command's output become the stage's; what else the command wrote stays where it is."""
    for path in paths:
        path.replace(folder / path.name)


def _disparity_folder(predictions: Path, data: Path) -> Path:
    """Where a parent's disparity maps lie; the oracle's are the data set's own."""
    truth = truth_of(predictions)
    if truth == "velodyne":
        found = "the oracle, which is LiDAR here"
        raise FormatError(predictions, "folder", found, "disparity maps for {disparity}; a template with {clouds} fits")
    return (predictions if truth is None else data / "training" / "disparity").resolve()
