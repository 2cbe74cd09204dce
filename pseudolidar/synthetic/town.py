"""A procedural town written as a KITTI object data set: pictures, labels, sweeps and exact disparity."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pseudolidar.files import RECORD_FILE, FormatError, InputError, ProcessPool, Record, claimed, track, write_file
from pseudolidar.kitti import write_disparity, write_image, write_objects, write_points
from pseudolidar.synthetic.labels import label
from pseudolidar.synthetic.preset import PRESETS, TownPreset
from pseudolidar.synthetic.scene import sample_scene
from pseudolidar.synthetic.sensors import exposure_of, render, sample_sensors, sweep

RENDERER_VERSION = 3  # raised whenever the same seed gives other bytes


def _paths(root: Path, frame_id: str) -> dict[str, Path]:
    kinds = {
        "image_2": "png",
        "image_3": "png",
        "disparity": "png",
        "velodyne": "bin",
        "label_2": "txt",
        "calib": "txt",
    }
    return {kind: root / "training" / kind / f"{frame_id}.{ending}" for kind, ending in kinds.items()}


def write_frame(root: Path, preset: TownPreset, seed: int, index: int) -> None:
    """Render frame `index` and write its files; they depend on the preset, the seed and the index alone."""
    rng = np.random.default_rng([seed, index])
    scene = sample_scene(rng, preset)
    calibration = preset.calibration()
    size = (preset.height_px, preset.width_px)
    left = render(scene, calibration, False, *size)
    right = render(scene, calibration, True, *size)
    exposure = exposure_of(left)
    paths = _paths(root, f"{index:06d}")
    for kind, view, sensor in zip(("image_2", "image_3"), (left, right), sample_sensors(rng), strict=True):
        write_image(paths[kind], sensor.expose(view.colours, exposure, rng))
    constant = np.array(calibration.camera_constant_px_m, np.float32)
    with np.errstate(divide="ignore"):
        disparity = np.where(left.depth > 0, constant / left.depth, np.float32(0)).astype(np.float32)
    write_disparity(paths["disparity"], disparity)
    write_points(paths["velodyne"], sweep(scene, calibration, rng))
    write_objects(paths["label_2"], label(scene, calibration, left.thing))
    calibration.to_file(paths["calib"])


def write_town(
    root: str | Path, preset: TownPreset, splits: dict[str, int], seed: int, workers: int = 2, overwrite: bool = False
) -> None:
    """Write a town of sum(splits) frames under root; frames that are there already are left alone.

    Frames are numbered through the splits in their order, so {"train": 3, "val": 2} has 0-2 for training. Each depends
    on (seed, its number) alone. workers: processes; 1 renders in this one. overwrite: a town of other settings is
    replaced.

    Raises FormatError where root holds a town of other settings, InputError for settings that make no sense.
    """
    root = Path(root)
    if not splits or any(count < 0 for count in splits.values()) or sum(splits.values()) == 0:
        raise InputError(f"splits: found {splits}, expected names with numbers of frames, at least one frame in all")
    if seed < 0 or workers < 1:
        raise InputError(f"seed {seed}, workers {workers}: expected a seed of 0 or more and at least one worker")
    if (root / "training").exists() and not (root / RECORD_FILE).exists():
        found = "a data set that make_town did not write"
        raise FormatError(root, "training", found, "an empty folder, or a town")
    names = {f"{index:06d}": "" for index in range(sum(splits.values()))}
    outputs = [str(path) for path in _paths(Path(), "{}").values()]
    settings = {
        "preset": preset.name,
        "width_px": preset.width_px,
        "height_px": preset.height_px,
        "seed": seed,
        "splits": [[name, count] for name, count in splits.items()],  # in order: it numbers the frames
    }
    record = Record("a town", settings, {}, str(RENDERER_VERSION))
    with claimed(root, record, names, outputs, overwrite):
        _render_missing(root, preset, len(names), seed, workers)
        _write_splits(root / "ImageSets", splits)


def _render_missing(root: Path, preset: TownPreset, total: int, seed: int, workers: int) -> None:
    for kind in _paths(root, ""):
        (root / "training" / kind).mkdir(parents=True, exist_ok=True)
    tasks = {
        f"frame {index:06d}": (root, preset, seed, index)
        for index in range(total)
        if not all(path.exists() for path in _paths(root, f"{index:06d}").values())
    }
    description = f"town {preset.name}"
    if workers == 1 or len(tasks) < 2:
        for task in track(tasks.values(), description):
            write_frame(*task)
        return
    # Compiles the kernels once, before every worker would.
    write_frame(*tasks.pop(min(tasks)))
    with ProcessPool(min(workers, len(tasks))) as pool:
        for _ in track(pool.map(write_frame, tasks), description, len(tasks)):
            pass


def _write_splits(folder: Path, splits: dict[str, int]) -> None:
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.txt"):
        # Of a town that was replaced.
        if file.stem not in splits:
            file.unlink()
    first = 0
    for name, count in splits.items():
        path, text = folder / f"{name}.txt", "".join(f"{index:06d}\n" for index in range(first, first + count))
        if not path.is_file() or path.read_text() != text:
            write_file(path, text)
        first += count


@dataclass(frozen=True)
class TownData:
    """A synthetic town, made by the study: the preset's name, and the number of frames of both splits."""

    preset: str
    train: int
    val: int

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset: found {self.preset!r}, expected one of {', '.join(PRESETS)}")


@dataclass(frozen=True)
class TownTask:
    """Makes a synthetic town.

    Attributes:
        data: preset and numbers of frames.
        seed: of the random scenes.
    """

    data: TownData
    seed: int
    version: ClassVar[int] = RENDERER_VERSION

    def settings(self) -> Mapping[str, Any]:
        """The town's preset and numbers of frames, and the seed."""
        return {**asdict(self.data), "seed": self.seed}

    def run(self, folder: Path, parents: Mapping[str, Path]) -> None:
        """Write the frames that are missing."""
        splits = {"train": self.data.train, "val": self.data.val}
        write_town(folder, PRESETS[self.data.preset], splits, self.seed, overwrite=True)
