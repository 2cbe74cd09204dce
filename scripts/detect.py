"""Objects from stereo pairs: python scripts/detect.py models=DIR left=FILE right=FILE calib=FILE (or data=, drive=)."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.command_line import clear_errors
from pseudolidar.files import InputError, require_output_folder
from pseudolidar.inference import Shard, run_job
from pseudolidar.inference.pairs import PairsToObjectsJob, merged
from pseudolidar.kitti import Frame, ObjectDataset
from pseudolidar.pipeline import Drawing, GivenBoxes, Models, PairFrame, raw_drive


@hydra.main(version_base="1.3", config_path="../configs", config_name="detect")
def main(config: DictConfig) -> None:
    """Write a KITTI result file and a picture for every frame, say where they are and what was found."""
    with clear_errors():
        run(config)


def run(config: DictConfig) -> None:
    """Detect in one pair, in a data set or in a drive."""
    require_output_folder(config.output, "detections")
    frames = frames_of(config)
    load = partial(
        Models.from_folder, config.models, config.detectors, config.device, config.align_corners, config.max_disparity
    )
    # Here too where others compute: what is wrong with a folder of models shows before they start.
    models = load()
    frame_ids = [frame.frame_id for frame in frames]
    boxes = None if config.boxes is None else GivenBoxes.from_path(config.boxes, frame_ids)
    drawing = Drawing(**config.drawing)
    if models.disparity_name == "semi-global matching":
        print(f"disparity: by semi-global matching, since {config.models} has no disparity.pt")
    shard = Shard.from_text(config.shard)
    job = PairsToObjectsJob(
        load if config.workers > 1 else lambda: models, frames, Path(config.output), drawing, boxes, config.max_height
    )
    summary = merged(run_job(job, config.workers, shard), len(shard.of(frame_ids)))
    print(f"frames: {summary.frames}, finished before: {summary.finished_before}; found: {_listed(summary.found)}")
    if summary.skipped:
        print(f"skipped: {_listed(summary.skipped)}")
    print(f"results: {Path(config.output) / 'results'}, pictures: {Path(config.output) / 'pictures'}")


def frames_of(config: DictConfig) -> Sequence[Frame]:
    """The frames that `left` with `right` and `calib`, or `data`, or `drive` name."""
    pair = [config.left, config.right, config.calib]
    sources = [any(part is not None for part in pair), config.data is not None, config.drive is not None]
    if sum(sources) != 1 or (sources[0] and None in pair):
        given = [name for name in ("left", "right", "calib", "data", "drive") if config[name] is not None]
        found = ", ".join(given) or "none of them"
        raise InputError(f"found {found}; expected left=FILE right=FILE calib=FILE, or data=DIR, or drive=DIR")
    if config.data is not None:
        return list(ObjectDataset(config.data, config.split))
    if config.drive is not None:
        return list(raw_drive(config.drive))
    return [PairFrame.from_files(*pair)]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "nothing"


if __name__ == "__main__":
    main()
