"""Frames a second over a whole data set: in one process with a thread for each processor, and in workers."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

from pseudolidar.cloud import LIDAR_GRID, write_clouds
from pseudolidar.detectors.pointrcnn import PointRCNN
from pseudolidar.files import InputError
from pseudolidar.inference import FrameJob, run_job
from pseudolidar.inference.disparity import DisparityJob
from pseudolidar.inference.objects import ObjectsJob
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import PSMNet, TrainedPSMNet, save_psmnet
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.tables import Row, Table, print_tables
from pseudolidar.training import arithmetic_threads


def main(frames: int = 48, workers: int = 2, repetitions: int = 3) -> None:
    """Print the time of disparity maps by a small PSMNet and of detection by PointRCNN, random weights both.

    Args:
        frames: of a town of 416 x 128 px.
        workers: processes that are set against one.
        repetitions: timed runs of each.
    """
    if workers < 2 or frames <= workers or repetitions < 1:
        found = f"{frames} frames, {workers} workers, {repetitions} repetitions"
        raise InputError(
            f"frames, workers and repetitions: found {found}, expected 2 workers, more frames than workers, 1"
        )
    with tempfile.TemporaryDirectory() as folder:
        print_tables([inference_table(Path(folder), frames, workers, repetitions)])


def inference_table(folder: Path, frames: int, workers: int, repetitions: int) -> Table:
    """Make the frames in `folder`, compute on them in one process and in several, in turn."""
    write_town(folder / "town", PRESETS["mini"], {"train": frames}, seed=0)
    town = ObjectDataset(folder / "town", "train")
    write_clouds(
        town.folder / "disparity", town.folder / "calib", folder / "clouds", town.frame_ids, 1.0, grid=LIDAR_GRID
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # The shapes of configs/stereo/slim.yaml.
        small = PSMNet(48, width=16, pool_sizes=(16, 8, 4), hourglasses=1, blocks=(1, 2, 1, 1))
        save_psmnet(folder / "u.pt", small.eval())
        torch.save({"model_state": PointRCNN().state_dict()}, folder / "car.pt")
    few = town.only(town.frame_ids[:workers])

    def disparity(dataset: ObjectDataset, output: Path) -> FrameJob[object]:
        return DisparityJob(partial(TrainedPSMNet, folder / "u.pt"), dataset, output, "disparity", {})

    def objects(dataset: ObjectDataset, output: Path) -> FrameJob[object]:
        return ObjectsJob(str(folder / "car.pt"), dataset, folder / "clouds", output)

    # Name, processes, threads in all.
    threads = torch.get_num_threads()
    contenders = {"1 process, 1 thread": (1, 1), "1 process": (1, threads), f"{workers} workers": (workers, threads)}
    rows = []
    makers: dict[str, Callable[[ObjectDataset, Path], FrameJob[object]]]
    makers = {"disparity, small PSMNet": disparity, "objects, PointRCNN": objects}
    for name, job_on in makers.items():
        times: dict[tuple[int, str], list[float]] = {}
        for repetition in range(repetitions):
            for dataset in (few, town):
                for contender, (processes, in_all) in contenders.items():
                    output = folder / f"{name}-{repetition}-{len(dataset)}-{contender}"
                    start = time.perf_counter()
                    with arithmetic_threads(in_all):
                        run_job(job_on(dataset, output), processes)
                    times.setdefault((len(dataset), contender), []).append(time.perf_counter() - start)
        rows += [row_of(f"{name}: {contender}", times, contender, workers, frames) for contender in contenders]
    return Table(
        f"Inference over {frames} frames of 416 x 128 px, {threads} threads in all, PyTorch {torch.__version__}",
        (("", "seconds", "frames / s", "times faster", "start, s"),),
        tuple(rows),
        (
            "start: a run of one frame a worker, in which models are loaded and workers begin; frames / s and times "
            "faster (than 1 process with all threads): of the frames beyond those. Workers share the threads out.",
        ),
    )


def row_of(label: str, times: dict[tuple[int, str], list[float]], contender: str, workers: int, frames: int) -> Row:
    """One contender: seconds for all frames, and its rate without the start.

    Args:
        label: of the row.
        times: s, a repetition each, by how many frames and which contender: `workers` frames and all of them.
        contender: the one whose times are shown.
        workers: frames of the start.
        frames: in all.
    """

    def without_start(name: str) -> list[float]:
        return [whole - start for whole, start in zip(times[frames, name], times[workers, name], strict=True)]

    own, alone = without_start(contender), without_start("1 process")
    ratio = median(one / several for one, several in zip(alone, own, strict=True))
    start, rate = median(times[workers, contender]), (frames - workers) / median(own)
    return Row((label, median(times[frames, contender]), rate, ratio, start))
