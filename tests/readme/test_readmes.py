"""The READMEs: every command is composed with its settings checked, what can be run here is run in small."""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch

from pseudolidar.command_line import running
from pseudolidar.command_line.running import CONFIGS
from pseudolidar.kitti import ObjectDataset, write_disparity
from pseudolidar.stereo import PSMNet
from tests.command_line.test_found_again import BOXES2D, FRUSTUM, POINTRCNN, STEREO
from tests.conftest import RunHere
from tests.readme.commands import READMES, REPOSITORY, Command, blocks, commands
from tests.readme.walkthrough import WALKTHROUGH

# What is added to a command so that it takes a second, in the order in which one needs what another one makes.
SMALL: dict[str, tuple[str, ...]] = {
    "make_town": ("train=3", "val=2", "workers=1"),
    "train_stereo": (*STEREO, "plot=false"),
    "predict_disparity": ("workers=1",),
    "make_clouds": ("workers=1",),
    "evaluate_disparity": (),
    "train_detector": ("plot=false",),
    "train_detector2d": (*BOXES2D, "plot=false"),
    "detect_boxes2d": ("workers=1",),
    "export_kitti": (),
    "export_coco": (),
    "import_coco": (),
    "detect_objects": ("workers=1",),
    "detect": (),
    "evaluate": ("missing_results=empty",),
    "compare": ("bootstrap=20", "missing_results=empty"),
    "view": (),
    "plot_training": (),
    "pack_weights": (),
}
# These take longer than a second however small: tests of their own run them.
ELSEWHERE = {
    "study": "case_study/test_case_study.py", "power": "case_study/test_case_study.py",
    "backfill": "updates/test_backfill.py",
    "update_stream": "updates/test_digits_stream.py", "joint_training": "ensembles/test_joint_training.py",
    "illustrations": "illustrations/test_illustrations.py", "mismatches": "illustrations/test_mismatches.py",
    "benchmark": "benchmarks",
}  # fmt: skip
MODELS = {"u.pt", "pointrcnn_car.pt"}
OF_HYDRA = {"--help", "--cfg", "-sc"}
COMMANDS = commands()


def why_not(command: Command) -> str | None:
    """Why a command isn't run here; None if it is."""
    words = " ".join(command.arguments)
    for pattern, reason in (
        (r"device=cuda", "a GPU"), (r"pairs=kitti_2015|disp_occ_0", "data that is not here"),
        (r"\.rrd", "the extra rerun"), (r"-m\b", "several runs"), (r"--help|--cfg|-sc", "Hydra answers it"),
    ):  # fmt: skip
        if re.search(pattern, words):
            return reason
    return f"tests/{ELSEWHERE[command.name]} runs it" if command.name in ELSEWHERE else None


RUN = sorted((each for each in COMMANDS if why_not(each) is None), key=lambda each: list(SMALL).index(each.name))
COMPOSED = [each for each in COMMANDS if why_not(each) is not None and each.name != "benchmark"]


def here(argument: str) -> str:
    """An argument with what is in this test's folder in the place of what the reader has."""
    name, equals, value = argument.partition("=")
    own = {
        "data": "town", "results": "results", "a": "results", "b": "results", "labels": "town/training/label_2",
        "models": "outputs/demo/models/u", "left": "town/training/image_2/000000.png",
        "right": "town/training/image_3/000000.png", "calib": "town/training/calib/000000.txt",
    }  # fmt: skip
    if name in own and value in ("DIR", "FILE", "left.png", "right.png", "calib.txt"):
        value = own[name]
    elif name in ("results", "frame"):
        value = value.replace("DIR", "results").replace("000012", "000003").replace("000047", "000004")
    elif value in ("/data/my_maps", "/path/to/it"):
        value = {"/data/my_maps": "maps", "/path/to/it": "."}[value]
    return f"{name}{equals}{value.replace('/data/kitti', 'town')}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands run, with the files that the READMEs save."""
    folder = tmp_path_factory.mktemp("reader")
    for block in (*blocks("python"), *blocks("yaml")):
        if block.file_name is not None:
            (folder / block.file_name).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file_name).write_text(block.text)
    return folder


@pytest.fixture
def call(folder: Path, run_here: RunHere, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, tuple[str, ...]], str]:
    """Run a command in the folder; what it printed."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)

    def called(name: str, arguments: tuple[str, ...]) -> str:
        status, out, errors = run_here(name, *arguments)
        assert status == 0, f"{name} {' '.join(arguments)}\n{errors}"
        return out

    return called


def test_what_can_be_run_is_run_in_small(
    folder: Path, call: Callable[[str, tuple[str, ...]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str) -> None:
        for command in RUN:
            if command.name == name:
                small = SMALL[name]
                if name == "train_detector":
                    small += POINTRCNN if "detector@training=pointrcnn_slim" in command.arguments else FRUSTUM
                # What another reader wrote to the same file, by other settings.
                if "overwrite:" in (CONFIGS / f"{name}.yaml").read_text():
                    small += ("overwrite=true",)
                call(name, (*map(here, command.arguments), *small))

    run("make_town")
    write_data_of_the_readers(folder)
    for name in ("train_stereo", "predict_disparity", "make_clouds"):
        run(name)
    for block in blocks("python"):
        given: tuple[str, ...] = ()
        if block.file_name == "clusters.py":
            given = ("--data=town", "--split=town/ImageSets/val.txt", "--clouds=clouds", "--out=clusters")
        monkeypatch.setattr(sys, "argv", [str(block.file_name), *given])
        exec(compile(block.text, f"{block.readme}: {block.text}", "exec"), {"__name__": "__main__"})
    for name in list(SMALL)[4:]:
        if name == "detect":
            shutil.copytree(folder, folder / "outputs/demo/models/u", ignore=lambda _, names: {*names} - MODELS)
            (folder / "outputs/demo/models/u/u.pt").rename(folder / "outputs/demo/models/u/disparity.pt")
        run(name)
    assert (folder / "ap.json").is_file() and (folder / "detections/pictures/000000.png").is_file()


def write_data_of_the_readers(folder: Path) -> None:
    """What a reader of the README of `pseudolidar` has: pairs in a form of their own, published weights."""
    frames = ObjectDataset(folder / "town", "train")
    for frame in frames:
        for kind, side in (("left", "image_2"), ("right", "image_3")):
            (folder / "my_data/train" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(frame.path(side), folder / "my_data/train" / kind)
        write_disparity(folder / "my_data/train/disparity" / f"{frame.frame_id}.npy", frame.disparity())
    torch.save({"state_dict": PSMNet(192).state_dict()}, folder / "pretrained_model_KITTI2015.tar")


@pytest.mark.parametrize("command", COMPOSED, ids=str)
def test_every_other_is_composed_and_its_settings_checked(
    folder: Path, call: Callable[[str, tuple[str, ...]], str], monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    of_command, called = running._main, []
    for maps in ("maps", "maps_bm"):
        (folder / maps).mkdir(exist_ok=True)
        (folder / maps / "000000.npy").touch()

    def recorded(name: str) -> Callable[..., None]:
        @wraps(of_command(name))
        def record(**settings: Any) -> None:
            called.append(settings)

        return record

    monkeypatch.setattr(running, "_main", recorded)
    # Of several runs the first.
    arguments = tuple(
        re.sub(r"^(seed=\d+),.*", r"\1", here(each))
        for each in command.arguments
        if each not in ("-m", "+launcher=slurm")
    )
    call(command.name, arguments)
    assert len(called) == (0 if OF_HYDRA & set(arguments) else 1)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.name == "benchmark"], ids=str)
def test_benchmarks_take_the_settings_that_are_shown(command: Command) -> None:
    name, *settings = command.arguments
    known = inspect.signature(importlib.import_module(f"pseudolidar.benchmarks.{name}").main).parameters
    assert {setting.partition("=")[0] for setting in settings} <= known.keys()


def test_every_command_stands_in_a_readme() -> None:
    assert {each.name for each in COMMANDS} == {path.stem for path in (REPOSITORY / "scripts").glob("*.py")}


@pytest.mark.parametrize("text", dict.fromkeys(block.text for block in blocks("bash")))
def test_the_shell_understands_every_block(text: str) -> None:
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    for script in re.findall(r"\b(?:scripts|docker|tests)/[\w/.-]+\.\w+", text):
        assert (REPOSITORY / script).is_file(), script


PAGES = [*READMES, WALKTHROUGH, REPOSITORY / "CHANGELOG.md", REPOSITORY / ".github/CONTRIBUTING.md"]


@pytest.mark.parametrize("readme", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere_and_lines_are_short(readme: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", readme.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("http"):
            path, _, place = link.partition("#")
            target = (readme.parent / path).resolve() if path else readme
            assert target.exists(), link
            assert not place or place in places(target), link
    assert [line for line in text.splitlines() if len(line) > 120 and line[0] not in "|!"] == []


def places(readme: Path) -> set[str]:
    """The anchors of a README's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", readme.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_first_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


def test_every_group_and_its_files_are_listed() -> None:
    lines = [line.split("|") for line in (CONFIGS / "README.md").read_text().splitlines() if line.startswith("| `")]
    listed = {line[1].strip(" `"): set(re.findall(r"`([\w/.]+)`", line[4])) for line in lines}
    assert listed.keys() == {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    for group, files in listed.items():
        there = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
        there |= {f"{path.name}/..." for path in (CONFIGS / group).iterdir() if path.is_dir()}
        assert files == there, group
