"""Training from files on disk beside training on one batch in the device's memory, and how fast batches are made."""

import dataclasses
import io
import math
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch

from pseudolidar.benchmarks.pipeline import settings_of
from pseudolidar.cloud import write_clouds
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNTraining
from pseudolidar.detectors.pointrcnn.losses import rpn_loss
from pseudolidar.detectors.pointrcnn.scenes import SceneBatches, SceneSource
from pseudolidar.files import InputError, Record
from pseudolidar.kitti import ObjectDataset
from pseudolidar.stereo import ObjectPairs, StereoBatches, StereoTraining
from pseudolidar.stereo.train import initial_network, loss_terms
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.tables import Row, Table, print_tables
from pseudolidar.training import (
    WHOLE_BATCH,
    Batch,
    BatchShard,
    TrainingRun,
    TrainingSettings,
    TrainingTask,
    arithmetic_threads,
    fit,
    metrics_path,
    read_metrics,
    require_device,
)
from pseudolidar.training.batches import BatchFeed

# Nothing is learned: with random weights and the published rates a few steps can diverge.
_LEARNING_RATE = 1e-6


def main(
    preset: str = "mini",
    frames: int = 24,
    data: str | None = None,
    split: str = "train",
    clouds: str | None = None,
    stereo: str = "slim",
    detector: str = "pointrcnn_slim",
    device: str = "cpu",
    precision: str | None = None,
    workers: Sequence[int] = (0, 1, 2),
    steps: int = 5,
    repetitions: int = 2,
) -> None:
    """Print for PSMNet and for PointRCNN's RPN how fast batches are made, and what a training step waits for them.

    At KITTI's size on two cores, batches alone: preset=full frames=60 stereo=psmnet detector=pointrcnn steps=0; on a
    GPU: the same with device=cuda precision=bfloat16 workers=[0,4,8,16] steps=40.

    Args:
        preset, frames: of a town that is made for it.
        data, split: a data set instead, of which the first `frames` frames are taken.
        clouds: its clouds, ID.bin; None: its LiDAR's.
        stereo, detector: files of configs/stereo and configs/detector.
        device, precision: of the training; None: the precision that the files say.
        workers: numbers of processes that make batches.
        steps: of training that are timed in each run; 0: none.
        repetitions: runs of each contender, in turn.
    """
    if preset not in PRESETS or frames < 1 or steps < 0 or repetitions < 1 or not workers or min(workers) < 0:
        found = f"preset={preset}, frames={frames}, workers={list(workers)}, steps={steps}, repetitions={repetitions}"
        expected = f"one of {', '.join(PRESETS)}, 1 frame or more, workers and steps from 0 on, 1 repetition or more"
        raise InputError(f"settings: found {found}, expected {expected}")
    of_run: dict[str, Any] = {"device": device, "checkpoint_every": 1_000_000}
    of_run |= {"precision": precision} if precision else {}
    of_stereo = dataclasses.replace(settings_of(f"stereo/{stereo}", loss="disparity"), **of_run)
    of_detector = dataclasses.replace(settings_of(f"detector/{detector}"), **of_run)
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data, clouds = str(Path(folder) / "town"), str(Path(folder) / "clouds")
            write_town(Path(data), PRESETS[preset], {split: frames}, 0, os.cpu_count() or 1)
            made = ObjectDataset(data, split)
            write_clouds(made.folder / "disparity", made.folder / "calib", clouds, made.frame_ids)
        dataset = ObjectDataset(data, split)
        dataset = dataset.only(dataset.frame_ids[:frames])
        trained = (
            stereo_training(of_stereo, dataset),
            pointrcnn_training(of_detector, dataset, Path(clouds) if clouds else dataset.folder / "velodyne"),
        )
        for number, each in enumerate(trained):
            print_tables([making_table(each, workers, repetitions)])
            if steps:
                print_tables([step_table(each, workers, steps, repetitions, Path(folder) / str(number))])


@dataclass(frozen=True)
class Trained:
    """A training whose batches are measured.

    Attributes:
        name: of it, and what an item of a batch is.
        settings, task: of the training.
        batch_size, items: in a batch, and in an epoch.
        read: reads the files of an item, by number, and decodes them.
    """

    name: str
    settings: TrainingSettings
    task: TrainingTask[Any, Any]
    batch_size: int
    items: int
    read: Callable[[int], object]


def stereo_training(settings: StereoTraining, dataset: ObjectDataset) -> Trained:
    """PSMNet from random weights."""
    pairs = ObjectPairs(dataset)
    model = initial_network(settings, None, 0)
    task = TrainingTask(
        model=model,
        batches=StereoBatches(pairs, settings.batch_size, settings.crops(), 0, settings.max_depth_m),
        compute_loss=lambda model, batch: loss_terms(model, batch, settings.loss, settings.smooth),
        **_schedule(model),
    )
    height, width = settings.crop
    name = f"PSMNet, batches of {settings.batch_size} crops of {width} x {height} px"
    return Trained(name, settings, task, settings.batch_size, len(dataset), pairs.read)


def pointrcnn_training(settings: PointRCNNTraining, dataset: ObjectDataset, clouds: Path) -> Trained:
    """PointRCNN's first stage for cars, from random weights."""
    source = SceneSource(dataset, [clouds], "Car", settings.points, settings.augmentation, None, 0)
    network = {name: dataclasses.asdict(getattr(settings, name)) for name in ("backbone", "rcnn", "proposals")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = PointRCNN.from_arguments({**network, "mean_size_m": source.mean_size_m()})
    task = TrainingTask(
        model=model,
        batches=SceneBatches(source, settings.rpn_batch_size, phase=1),
        compute_loss=lambda model, batch: rpn_loss(model, batch, model.rpn(batch.points)),
        **_schedule(model.rpn),
    )
    name = f"PointRCNN's RPN, batches of {settings.rpn_batch_size} scenes of {settings.points} points"
    scenes = source.scenes
    return Trained(
        name, settings, task, settings.rpn_batch_size, len(scenes), lambda index: source.points_of(scenes[index], 0)
    )


def _schedule(part: torch.nn.Module) -> dict[str, Any]:
    return {
        "steps": 0,
        "optimizer": torch.optim.Adam(part.parameters(), lr=_LEARNING_RATE),
        "learning_rate_at": lambda step: _LEARNING_RATE,
        "record": Record("a benchmark", {}, {}),
        "description": "benchmark",
    }


def making_table(trained: Trained, workers: Sequence[int], repetitions: int) -> Table:
    """How fast batches are made while nothing else is computed."""
    source, size = trained.task.batches, trained.batch_size
    # Every item twice, so that one slow file does not count for much.
    count = math.ceil(2 * trained.items / size)
    trained.read(0)
    seconds = _processor_s(trained.read, range(trained.items)), _processor_s(source_of(trained), range(count)) / size
    rates: dict[int, list[float]] = {number: [] for number in workers}
    for _ in range(repetitions):
        for number in workers:
            rates[number].append(size / making_s(source, number, count))
    baseline = 1 if 1 in workers else workers[0]
    cores = os.cpu_count() or 1
    rows = [
        Row(
            (
                f"workers: {number}",
                median(own),
                median(one / other for one, other in zip(own, rates[baseline], strict=True)),
            )
        )
        for number, own in rates.items()
    ]
    return Table(
        f"{trained.name}: batches alone, of {trained.items} frames, {cores} processors, PyTorch {torch.__version__}",
        (("", "items / s", f"over workers: {baseline}"),),
        tuple(rows),
        (
            f"Processor time of an item: {1e3 * seconds[1]:.1f} ms, of which reading and decoding its files takes "
            f"{1e3 * seconds[0]:.1f} ms. Limit, all processors decoding: {cores / seconds[0]:.0f} items / s.",
        ),
    )


def source_of(trained: Trained) -> Callable[[int], Batch]:
    """The whole batch of a step."""
    return lambda step: trained.task.batches(step, WHOLE_BATCH)


def _processor_s(call: Callable[[int], object], numbers: range) -> float:
    """Processor time of a call, of all threads, s."""
    with arithmetic_threads(1):
        start = time.process_time()
        for number in numbers:
            call(number)
        return (time.process_time() - start) / len(numbers)


def making_s(source: Any, workers: int, count: int) -> float:
    """Seconds for a batch, once the workers have begun and those that they make ahead are taken."""
    ahead = _made_ahead(workers)
    places = [(step, WHOLE_BATCH) for step in range(ahead + count)]
    with BatchFeed(source, places, workers, torch.device("cpu")) as feed:
        for _ in range(ahead):
            next(feed)
        start = time.perf_counter()
        for _ in range(count):
            next(feed)
        return (time.perf_counter() - start) / count


def _made_ahead(workers: int) -> int:
    # Two of each worker, and one that is fetched.
    return 2 * workers + 1


def step_table(trained: Trained, workers: Sequence[int], steps: int, repetitions: int, folder: Path) -> Table:
    """What a training step takes with a batch in the device's memory, and with batches from disk; files in `folder`."""
    folder.mkdir()
    resident = resident_task(trained.task, torch.device(trained.settings.device))
    contenders = {"a batch in memory": (resident, 0)}
    contenders |= {f"from disk, workers: {number}": (trained.task, number) for number in workers}
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    waiting: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions):
        for name, (task, number) in contenders.items():
            # The first step of all compiles and chooses.
            skipped = 1 + _made_ahead(number)
            run = TrainingRun(folder / f"{name}-{repetition}.pt")
            settings = dataclasses.replace(trained.settings, workers=number)
            with redirect_stderr(io.StringIO()):
                fit(dataclasses.replace(task, steps=skipped + steps), settings, run)
            metrics = read_metrics(metrics_path(run.checkpoint))
            seconds[name].append(trained.batch_size * fmean(1 / rate for rate in metrics["items_per_s"][skipped:]))
            waiting[name].append(fmean(metrics["waiting"][skipped:]))
    first = next(iter(seconds.values()))
    rows = [
        Row(
            (
                name,
                1e3 * median(own),
                median(one / other for one, other in zip(own, first, strict=True)),
                100 * median(waiting[name]),
                trained.batch_size / median(own),
            )
        )
        for name, own in seconds.items()
    ]
    device = require_device(trained.settings.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    return Table(
        f"{trained.name}: a training step, {where}, {trained.settings.precision}, PyTorch {torch.__version__}",
        (("", "ms", "time / first", "waiting, %", "items / s"),),
        tuple(rows),
        (f"The mean of {steps} steps, the median of {repetitions} runs; waiting: of the step for its batch.",),
    )


@dataclass(frozen=True)
class _Names:
    """A source whose batches hold nothing but names."""

    frame_ids: Sequence[str]

    def __call__(self, step: int, shard: BatchShard) -> Batch:
        return Batch(self.frame_ids)


def resident_task(task: TrainingTask[Any, Any], device: torch.device) -> TrainingTask[Any, Any]:
    """The task on one batch that lies in the device's memory: nothing is made or copied for a step."""
    resident = task.batches(0, WHOLE_BATCH).to(device)
    return dataclasses.replace(
        task, batches=_Names(resident.frame_ids), compute_loss=lambda model, batch: task.compute_loss(model, resident)
    )
