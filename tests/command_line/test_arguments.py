"""Arguments reach a command as they were typed, Hydra's syntax works where it is meant, and mistakes are one line."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from pseudolidar.case_study import on_device
from pseudolidar.command_line.running import CONFIGS
from pseudolidar.commands.study import main
from pseudolidar.files import InputError
from tests.conftest import RunHere

Run = Callable[..., tuple[int, str]]
TRAIN = ("train_stereo", "data=nowhere", "output=u.pt")
ODD = [
    "/home/José/x", "epoch=10", "run(1)", "a,b", "#1", "it's", "a b ", "$5", "${b}", "{c", "[d", "x:y", "~z", "a\\b",
    "a\\", "1e3", "007", "true", "(", '"half', "%s", "*.pt", "*", "?", "'", "ünï", "a\\'b", "null.pt", "@k", "^|&;<>",
]  # fmt: skip


@pytest.fixture
def run(run_here: RunHere, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A command within this process: its exit status, and its one line on standard error."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> tuple[int, str]:
        status, _, errors = run_here(name, *arguments)
        assert len(errors.splitlines()) == 1 and "Traceback" not in errors
        return status, errors.strip()

    return call


@pytest.mark.parametrize("value", ODD)
def test_paths_arrive_as_typed(run: Run, value: str) -> None:
    status, line = run(*TRAIN, f"init={value}")
    assert status == 2 and re.match(rf"error: \w+: found (no file )?{re.escape(str(Path(value)))}, expected", line)


def test_so_do_those_of_groups_and_unions(run: Run) -> None:
    status, line = run("study", "stereo@study.u=checkpoint", "study.u.path=a=b, (c)")
    assert (status, line) == (2, "error: a=b, (c): file: found nothing there, expected weights")


def test_hydras_syntax_stays(run: Run) -> None:
    assert "found no file u.pt.init," in run(*TRAIN, "init=${output}.init")[1]
    assert "nowhere: folder" in run(*TRAIN, "init=null")[1]
    assert "nowhere: folder" in run(*TRAIN, "init=NULL", "training.milestones=[1,2]", "++training.threads=2")[1]
    assert "found no file a b," in run(*TRAIN, "init='a b'")[1]
    assert "nowhere: folder" in run(*TRAIN, "~experiment", "training.max_depth_m=null", "training.smooth=false")[1]
    common = ("data=nowhere", "clouds=c", "output=o")
    assert "nowhere: folder" in run("train_detector", *common, "class_name=[Car,Pedestrian]", "clouds=[c,d]")[1]
    # Several values are several runs; the first ends.
    assert "found no file first.pt," in run("train_stereo", "-m", *TRAIN[1:], "init=first.pt,second.pt")[1]


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("sead=1", "sead: no such setting; did you mean seed?"),
        ("training.stps=3", "training.stps: no such setting; did you mean training.steps?"),
        ("+foo=3", "foo: no such setting; expected one of data, pairs, split, output"),
        ("+training.foo=3", "training.foo: no such setting; expected one of loss, steps"),
        ("~training.stps", "training.stps: no such setting; did you mean training.steps?"),
        ("pear@training=x", "config group 'pear' does not exist"),
        ("stereo@traning=slim", "stereo@traning: no such setting; did you mean stereo@training?"),
        ("pairs=kitty", "pairs: found kitty, expected one of kitti_2012, kitti_2015, kitti_object, scene_flow"),
        (
            "stereo@training=foo",
            "stereo: found foo, expected one of checkpoint, command, ensemble, folder, packaged, psmnet",
        ),
        ("experiment=foo", "experiment: found foo, expected one of demo"),
        (
            "experiment=demo",
            "experiment=demo: found one that sets dataset@study.data, expected an experiment of this command",
        ),
        ("word", "found word, expected NAME=VALUE"),
        ("seed=[1", "found seed=[1, expected NAME=VALUE"),
        ("seed=${foo}", "Interpolation key 'foo' not found"),
        ("data=???", "data: found nothing, expected a value"),
        ("data=", "data: found '', expected a path"),
        ("seed=abc", "seed: found 'abc', expected a whole number"),
        ("seed=1.5", "seed: found 1.5, expected a whole number"),
        ("seed=true", "seed: found True, expected a whole number"),
        ("seed=null", "seed: found null, expected a whole number"),
        ("training.steps=many", "training.steps: found 'many', expected a whole number"),
        ("training.learning_rate=fast", "training.learning_rate: found 'fast', expected a number"),
        ("training.smooth=maybe", "training.smooth: found 'maybe', expected true or false"),
        ("training.loss=7", "training.loss: found '7', expected disparity or depth"),
        ("training.crop=5", "training.crop: found 5, expected a list of 2 values"),
        ("training.crop=[1,2,3]", "training.crop: found [1, 2, 3], expected a list of 2 values"),
        ("training.pool_sizes=[8,x]", "training.pool_sizes[1]: found 'x', expected a whole number"),
        ("training={steps: x}", "training.steps: found 'x', expected a whole number"),
        ("training=null", "training: found null, expected StereoTraining"),
        ("stereo@training=null", "training: found null, expected StereoTraining"),
        ("stereo@training=sgm", "training"),
        ("training._target_=foo.Bar", "training._target_: found foo.Bar, expected the path of a class or a function"),
        ("pairs=null", "pairs: found nothing, expected an option of this group"),
        ("pairs._target_=os.nothing", "pairs._target_: found os.nothing, expected"),
    ],
)
def test_mistakes_name_the_setting(run: Run, argument: str, line: str) -> None:
    status, said = run(*TRAIN, argument)
    assert status == 2 and said.startswith("error: ") and line in said


def test_a_setting_has_the_name_that_was_given(run: Run) -> None:
    # study.seeds is ${seeds}.
    assert run("study", "seeds=abc") == (2, "error: seeds: found 'abc', expected a whole number or auto")
    assert run("study", "study.seeds=abc") == (2, "error: study.seeds: found 'abc', expected a whole number or auto")
    assert run("backfill", "data=D", "archive=a", "labelled=b", "candidates=c", "versions={u: V}", "budget=x") == (
        2, "error: budget: found 'x', expected a number",
    )  # fmt: skip


@pytest.mark.parametrize(
    "group", ["stereo@study.pretraining", "boxes2d@study.boxes2d", "detector@study.pointrcnn.Car",
              "detector@study.frustum_pointnet.Pedestrian"],
)  # fmt: skip
def test_a_group_may_be_null(run: Run, group: str) -> None:
    # Composed and checked, and only then refused for another setting.
    assert run("study", f"{group}=null", "seeds=0") == (2, "error: seeds: found 0, expected 1 or more")


def test_a_group_that_is_needed_may_not(run: Run) -> None:
    assert run("study", "stereo@study.u=null")[1].startswith("error: study.u: found null, expected StereoTraining or")
    assert (
        run("study", "dataset@study.data=null")[1] == "error: study.data: found null, expected TownData or FolderData"
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_command_takes_what_its_configuration_has(run: Run, name: str) -> None:
    # With no setting given, what is missing is said; where nothing is, the one that is of a wrong type.
    wrong = dict.fromkeys(("detect", "illustrations", "joint_training", "make_town"), "workers=x")
    wrong |= dict.fromkeys(("mismatches", "study", "update_stream"), "seeds=x")
    arguments = (wrong[name],) if name in wrong else ()
    status, said = run(name, *arguments)
    assert status == 2 and ("found nothing, expected" in said or "expected a whole number" in said)


def test_a_device_of_a_study_is_that_of_all_its_trainings(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**settings: Any) -> None:
        study = settings["study"]
        assert on_device(on_device(study, settings["device"]), "cpu") == study
        counts = repr(on_device(study, settings["device"])).count("device='cuda'"), repr(study).count("device='")
        raise InputError(f"{counts[0]} of {counts[1]}")

    monkeypatch.setattr("pseudolidar.command_line.running._main", lambda name: wraps(main)(refused))
    assert run("study", "device=cuda") == (2, "error: 7 of 7")
    assert run("study", "device=tpu")[1].startswith("error: device: found 'tpu', expected")


def test_a_mapping_that_is_null_is_empty(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(**settings: Any) -> None:
        study = settings["study"]
        raise InputError(f"{list(study.pointrcnn)} {list(study.frustum_pointnet)}")

    monkeypatch.setattr("pseudolidar.command_line.running._main", lambda name: wraps(main)(refused))
    assert run("study", "study.pointrcnn=null") == (2, "error: [] ['Car', 'Pedestrian']")
