"""Frames a second from pairs on disk to result files and pictures, beside those of each part alone."""

import dataclasses
import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import hydra
import torch
from omegaconf import OmegaConf

from pseudolidar.cloud import disparity_to_points, sparsify_points
from pseudolidar.command_line.running import CONFIGS
from pseudolidar.command_line.settings import conform
from pseudolidar.detectors.boxes2d import Boxes2d
from pseudolidar.detectors.pointrcnn import PointRCNN, PointRCNNTraining
from pseudolidar.detectors.pointrcnn.model import MEAN_SIZES_M
from pseudolidar.files import InputError, ProcessPool
from pseudolidar.kitti import Frame, ObjectDataset
from pseudolidar.pipeline import Drawing, Models, detect_frames
from pseudolidar.stereo import PSMNet, StereoTraining, disparity_tensor, save_psmnet
from pseudolidar.synthetic import PRESETS, write_town
from pseudolidar.tables import Row, Table, print_tables
from pseudolidar.training import recorded_settings, save_checkpoint

DRAWING = Drawing(frustum_score=-2.5, pointrcnn_score=0.0, box2d_score=0.5, max_depth=60.0)


def main(
    preset: str = "mini",
    frames: int = 12,
    stereo: str = "slim",
    detector: str = "pointrcnn_slim",
    device: str = "cpu",
    precision: str = "float32",
    repetitions: int = 2,
) -> None:
    """Print the rate of a town's pairs through PSMNet and PointRCNN, random weights both.

    On a GPU, at KITTI's size: preset=full stereo=psmnet detector=pointrcnn device=cuda precision=float16 frames=64.

    Args:
        preset: of the town: mini, half or full.
        frames: of the town.
        stereo, detector: the networks' sizes, files of configs/stereo and configs/detector.
        device: `cpu` or `cuda`.
        precision: of PSMNet.
        repetitions: timed runs of each contender.
    """
    if preset not in PRESETS or frames < 6 or repetitions < 1:
        found = f"preset={preset}, frames={frames}, repetitions={repetitions}"
        raise InputError(f"settings: found {found}, expected one of {', '.join(PRESETS)}, 6 frames or more, 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        models = random_models(Path(folder), stereo, detector, device, precision)
        write_town(Path(folder) / "town", PRESETS[preset], {"train": frames}, 0, os.cpu_count() or 1)
        town = list(ObjectDataset(Path(folder) / "town", "train"))
        print_tables([pipeline_table(Path(folder), models, town, device, precision, repetitions)])


def random_models(folder: Path, stereo: str, detector: str, device: str, precision: Any) -> Models:
    """A folder of two networks as untrained checkpoints, and the models in it."""
    of_stereo: StereoTraining = settings_of(f"stereo/{stereo}", loss="disparity")
    of_detector: PointRCNNTraining = settings_of(f"detector/{detector}")
    shapes = ("backbone", "rcnn", "proposals")
    network: dict[str, Any] = {name: dataclasses.asdict(getattr(of_detector, name)) for name in shapes}
    network |= {"mean_size_m": list(MEAN_SIZES_M["Car"])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_psmnet(folder / "models" / "disparity.pt", PSMNet(**of_stereo.network()).eval())
        content = {
            "arguments": {
                "detector": "pointrcnn",
                "class_name": "Car",
                "max_depth": None,
                "network": network,
                "settings": recorded_settings(of_detector),
            },
            "state_dict": PointRCNN.from_arguments(network).state_dict(),
        }
        save_checkpoint(folder / "models" / "pointrcnn_car.pt", content)
    return Models.from_folder(folder / "models", device=device, precision=precision)


def settings_of(option: str, **missing: str) -> Any:
    """The settings of a file of configs/, such as stereo/slim, with those that it leaves to the user."""
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(option)[option.partition("/")[0]]
    return conform(OmegaConf.to_container(OmegaConf.merge(config, missing), resolve=True), object, option)


def pipeline_table(
    folder: Path, models: Models, frames: Sequence[Frame], device: str, precision: str, repetitions: int
) -> Table:
    """Every part over all frames, and the whole, as often as `repetitions` says and in turn.

    Args:
        folder: results go there.
        models, frames: what computes, and on what.
        device, precision: of the models; PSMNet's.
        repetitions: timed runs; one more of each goes before.
    """
    threads = os.cpu_count() or 1
    decoding = {f"decoding, threads: {number}": partial(_decode, frames, number) for number in _powers_of_two(threads)}
    networks = _networks_alone(models, frames[0])
    outputs = (folder / "results" / str(number) for number in count())

    def one_by_one(drawing: Drawing | None) -> None:
        output = next(outputs)
        for frame in frames:
            detect_frames(models, [frame], output, drawing)

    def overlapped(drawing: Drawing | None) -> None:
        detect_frames(models, frames, next(outputs), drawing, painters=painters)

    with ProcessPool(torch.get_num_threads(), lambda painter: {"OMP_NUM_THREADS": "1"}) as painters:
        contenders: dict[str, Callable[[], object]] = {
            **decoding,
            **{f"{name} alone": partial(_repeated, network, len(frames)) for name, network in networks.items()},
            "results, one frame after the other": partial(one_by_one, None),
            "results, overlapped": partial(overlapped, None),
            "results and pictures, one frame after the other": partial(one_by_one, DRAWING),
            "results and pictures, overlapped": partial(overlapped, DRAWING),
        }
        seconds = _seconds(contenders, repetitions)
    rate = {name: len(frames) / median(own) for name, own in seconds.items()}
    together = 1 / sum(1 / rate[f"{name} alone"] for name in networks)
    fastest = max(rate[name] for name in decoding)
    parts = {"the networks": together, "decoding": fastest}
    slowest = min(parts, key=lambda part: parts[part])
    before = ""
    rows = []
    for name, own in seconds.items():
        ratio = None
        if "one frame after the other" in name:
            before, ratio = name, 1.0
        elif "overlapped" in name:
            ratio = median(slow / fast for slow, fast in zip(seconds[before], own, strict=True))
        rows.append(Row((name, 1e3 / rate[name], rate[name], ratio), rule_above="one frame after the other" in name))
    height, width = frames[0].image_size()
    where = torch.cuda.get_device_name() if torch.device(device).type == "cuda" else "processor"
    return Table(
        f"{len(frames)} pairs of {width} x {height} px to result files, {where}, {precision}, "
        f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}",
        (("", "ms a frame", "frames / s", "times faster"),),
        tuple(rows),
        (
            f"Networks alone: of a pair and of its cloud in memory. Limit without pictures: {parts[slowest]:.1f} "
            f"frames / s, of {slowest} ({', '.join(f'{part} {own:.1f}' for part, own in parts.items())}).",
        ),
    )


def _networks_alone(models: Models, frame: Frame) -> dict[str, Callable[[], object]]:
    left, right = frame.stereo_pair()
    (detector,) = models.detectors.values()
    calibration, size = frame.calibration, frame.image_size()
    cloud = sparsify_points(disparity_to_points(models.disparity.predict(left, right), calibration))
    return {
        "PSMNet": lambda: disparity_tensor(models.disparity, left, right),
        "PointRCNN": lambda: detector.objects(cloud, calibration, size, Boxes2d.empty(), 0),
    }


def _repeated(network: Callable[[], object], times: int) -> None:
    for _ in range(times):
        network()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _decode(frames: Sequence[Frame], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(Frame.stereo_pair, frames):
            pass


def _powers_of_two(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def _seconds(contenders: dict[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of each contender's runs, in turn, after one run of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for repetition in range(repetitions + 1):
        for name, call in contenders.items():
            start = time.perf_counter()
            # Hundreds of progress bars are of no interest.
            with redirect_stderr(io.StringIO()):
                call()
            if repetition:
                seconds[name].append(time.perf_counter() - start)
    return seconds
