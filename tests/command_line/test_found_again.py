"""Every command that writes: again it has nothing to do, with anything changed it refuses, until overwrite=true."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from pseudolidar.command_line import run_command
from pseudolidar.kitti import read_image, write_image, write_points
from pseudolidar.kitti.arrays import read_points
from tests.conftest import RunHere
from tests.forked import start_script
from tests.stereo.conftest import write_scene

Run = Callable[..., tuple[int, str]]

STEREO = (
    "training.steps=2", "training.batch_size=1", "training.crop=[32,64]", "training.width=8",
    "training.max_disparity=32", "training.pool_sizes=[8,4]", "training.blocks=[1,1,1,1]", "training.precision=float32",
    "training.checkpoint_every=1",
)  # fmt: skip
FRUSTUM = (
    "training.steps=2", "training.batch_size=2", "training.points=64", "training.object_points=32",
    "training.min_box_height_px=8",
)  # fmt: skip
POINTRCNN = (
    "detector@training=pointrcnn_slim", "training.rpn_steps=2", "training.rcnn_steps=2", "training.points=256",
    "training.rpn_batch_size=1", "training.rcnn_batch_size=1", "training.checkpoint_every=1",
)  # fmt: skip
BOXES2D = ("training.steps=2", "training.image_height=40", "training.crop=[40,64]", "training.batch_size=1")


@dataclass(frozen=True)
class Command:
    """A command that writes what it may find again.

    Attributes:
        name: of the script.
        arguments: in which DATA, MAPS, CLOUDS, ... are the inputs' folders.
        output: what it writes.
        setting: one that makes another result, and what the refusal says of it.
        input_file: below the inputs; changing it makes another result.
        harmless: a setting that changes nothing.
    """

    name: str
    arguments: tuple[str, ...]
    output: str
    setting: tuple[str, str]
    input_file: str
    harmless: str
    has_seed: bool = True


COMMANDS = {
    "make_town": Command(
        "make_town", ("preset=mini", "train=1", "val=1"), "town", ("train=2", "found splits="), "", "workers=1"
    ),
    "train_stereo": Command(
        "train_stereo", ("data=DATA", *STEREO), "u.pt",
        ("training.loss=depth", "found loss=disparity, expected loss=depth"),
        "data/training/image_2/000000.png", "training.threads=1",
    ),
    "train_stereo, an ensemble": Command(
        "train_stereo", ("data=DATA", "stereo@training=ensemble", *STEREO), "u.safetensors",
        ("training.beta=0.5", "found beta=0.0, expected beta=0.5"), "data/training/disparity/000001.png",
        "training.checkpoint_every=7",
    ),
    "train_detector, Frustum PointNet": Command(
        "train_detector", ("data=DATA", "clouds=CLOUDS", "class_name=Car", *FRUSTUM), "car.pt",
        ("max_depth=20", "found max_depth=None, expected max_depth=20"), "clouds/000000.bin", "training.threads=1",
    ),
    "train_detector, PointRCNN": Command(
        "train_detector", ("data=DATA", "clouds=CLOUDS", "class_name=Car", *POINTRCNN), "car.pt",
        ("training.learning_rate=0.1", "found learning_rate="), "clouds/000001.bin", "training.checkpoint_every=7",
    ),
    "train_detector2d": Command(
        "train_detector2d", ("data=DATA", *BOXES2D), "boxes2d.pt", ("training.flip=false", "found flip=True"),
        "data/training/label_2/000000.txt", "training.checkpoint_every=7",
    ),
    "predict_disparity": Command(
        "predict_disparity", ("data=DATA", "model=DIR/u.pt"), "maps", ("max_disparity=48", "found max_disparity=None"),
        "data/training/image_3/000000.png", "threads=1", has_seed=False,
    ),
    "predict_disparity, another model": Command(
        "predict_disparity", ("data=DATA", "model=DIR/u.pt"), "maps", ("model=DIR/other.pt", "found model="), "u.pt",
        "workers=1", has_seed=False,
    ),
    "make_clouds": Command(
        "make_clouds", ("disparity=DIR/sgm", "calib=DATA/training/calib"), "made",
        ("cloud=near_only", "found max_depth="), "sgm/000000.npy", "workers=2", has_seed=False,
    ),
    "detect_objects": Command(
        "detect_objects", ("model=DIR/models/frustum_car.pt", "data=DATA", "clouds=CLOUDS"), "results",
        ("model=DIR/other_car.pt", "found model="), "clouds/000000.bin", "workers=1", has_seed=False,
    ),
    "detect_boxes2d": Command(
        "detect_boxes2d", ("model=DIR/boxes2d.pt", "data=DATA"), "boxes", ("min_score=0.5", "found min_score="),
        "data/training/image_2/000001.png", "workers=1", has_seed=False,
    ),
    "detect": Command(
        "detect", ("models=DIR/models", "data=DATA", "boxes=DIR/boxes.txt"), "found",
        ("max_height=2", "found max_height="), "data/training/image_3/000001.png", "workers=1", has_seed=False,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all inputs, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("inputs")
    scene = write_scene(folder / "data", 2)
    for name in ("train", "val"):
        (folder / "data" / "ImageSets" / f"{name}.txt").write_text("000000\n000001\n")
    (folder / "models").mkdir()
    lines = []
    for frame in scene:
        corners = " ".join(f"{value:g}" for value in frame.objects().box2d[0])
        lines.append(f"image_2/{frame.frame_id}.png 2 0.9 {corners}\n")
    (folder / "boxes.txt").write_text("".join(lines))
    data = f"data={folder / 'data'}"
    for name, arguments in (
        ("predict_disparity", (data, "model=sgm", "max_disparity=16", f"output={folder / 'sgm'}")),
        ("make_clouds", (f"disparity={folder / 'sgm'}", f"calib={folder / 'data/training/calib'}",
                         f"output={folder / 'clouds'}")),
        ("train_stereo", (data, *STEREO, f"output={folder / 'u.pt'}")),
        ("train_stereo", (data, *STEREO, "seed=5", f"output={folder / 'other.pt'}")),
        ("train_detector2d", (data, *BOXES2D, f"output={folder / 'boxes2d.pt'}")),
        ("train_detector", (data, f"clouds={folder / 'clouds'}", "class_name=Car", *FRUSTUM,
                            f"output={folder / 'models/frustum_car.pt'}")),
        ("train_detector", (data, f"clouds={folder / 'clouds'}", "class_name=Car", *FRUSTUM, "seed=5",
                            f"output={folder / 'other_car.pt'}")),
    ):  # fmt: skip
        run_command(name, arguments)
    return folder


@pytest.fixture
def inputs(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(prepared, tmp_path / "inputs")
    yield tmp_path / "inputs"


@pytest.fixture
def run(inputs: Path, run_here: RunHere) -> Run:
    """A command within this process: its exit status, and the line of its error."""

    def call(command: Command, *changes: str) -> tuple[int, str]:
        places = {"DATA": inputs / "data", "CLOUDS": inputs / "clouds", "DIR": inputs}
        arguments = []
        changed = {change.partition("=")[0] for change in changes}
        for argument in (*command.arguments, f"output=DIR/{command.output}"):
            if argument.partition("=")[0] not in changed:
                arguments.append(argument)
        arguments += changes
        filled = []
        for argument in arguments:
            for name, place in places.items():
                argument = argument.replace(f"={name}", f"={place}")
            filled.append(argument)
        status, _, said = run_here(command.name, *filled)
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        return status, errors[-1] if errors else ""

    return call


def state_of(output: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and times of everything that is there."""
    files = [output] if output.is_file() else [path for path in output.rglob("*") if path.is_file()]
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in files if path.name[0] != "."}


def change(path: Path) -> None:
    """Another content of the same kind."""
    if path.suffix == ".png" and "disparity" not in path.parts:
        write_image(path, 255 - read_image(path))
    elif path.suffix == ".bin":
        write_points(path, read_points(path)[::-1])
    elif path.suffix == ".txt":
        path.write_text(path.read_text() * 2)
    elif path.suffix == ".pt":
        shutil.copy(path.with_name("other.pt"), path)
    else:
        shutil.copy(
            path.with_name(path.name.replace("000000", "swap").replace("000001", "000000").replace("swap", "000001")),
            path,
        )


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_same_goes_on_and_anything_else_is_refused(command: Command, inputs: Path, run: Run) -> None:
    output = inputs / command.output
    assert run(command) == (0, "")
    made = state_of(output)
    assert made
    for harmless in ((), (command.harmless,)):
        assert run(command, *harmless) == (0, "")
        assert state_of(output) == made
    refused = [((command.setting[0],), command.setting[1])]
    if command.has_seed:
        refused.append((("seed=9",), "found seed=0, expected seed=9"))
    for changes, message in refused:
        status, line = run(command, *changes)
        assert status == 2 and message in line and "overwrite=true replaces it, another output keeps it" in line, line
        assert state_of(output) == made
    if command.input_file:
        change(inputs / command.input_file)
        status, line = run(command)
        assert status == 2 and "record: found" in line and "overwrite=true" in line, line
        assert state_of(output) == made
    assert run(command, "overwrite=true")[0] == 0
    if command.input_file:
        assert state_of(output) != made
    assert run(command) == (0, "")


def test_a_killed_run_refuses_another_setting_and_goes_on_with_its_own(inputs: Path) -> None:
    def started(name: str, *changes: str) -> BaseProcess:
        settings = [f"data={inputs / 'data'}", *STEREO, "training.steps=60", f"output={inputs / 'killed.pt'}", *changes]
        return start_script("train_stereo.py", settings, inputs / f"{name}.txt", inputs / f"{name}.txt")

    run = started("run")
    while not (inputs / "killed.pt.partial").exists():
        assert run.is_alive()
        time.sleep(0.02)
    run.kill()
    run.join()
    assert not (inputs / "killed.pt").exists()
    for name, changes, status in (
        ("other", ("training.learning_rate=0.5",), 2),
        ("again", (), 0),
        ("whole", (f"output={inputs / 'whole.pt'}",), 0),
    ):
        process = started(name, *changes)
        process.join()
        assert process.exitcode == status, (inputs / f"{name}.txt").read_text()
    assert "killed.pt.partial: record: found learning_rate=" in (inputs / "other.txt").read_text()
    assert (inputs / "killed.pt").read_bytes() == (inputs / "whole.pt").read_bytes()
