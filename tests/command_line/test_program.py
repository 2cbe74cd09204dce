"""`pseudolidar`: the commands by name, from a wheel in any folder, with one's own configurations, completed by Tab."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

import pseudolidar
from pseudolidar.__main__ import main
from pseudolidar.command_line.running import CONFIGS
from pseudolidar.weights import Weights

REPOSITORY = Path(__file__).parents[2]
COMMANDS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Program:
    """The program within this process: its exit status, what it printed, what it wrote to standard error."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pseudolidar", *arguments])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = int(str(end.code or 0))
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


@pytest.mark.parametrize("columns", [200, 100, 80, 60, 40])
def test_alone_it_lists_the_commands(program: Program, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, listed, errors = program()
    assert (status, errors) == (0, "") and program("--help")[1] == listed
    assert listed.startswith(f"pseudolidar {pseudolidar.__version__}")
    assert re.findall(r"^  ([a-z]\w+)(?=  |$)", listed, re.MULTILINE) == COMMANDS
    assert max(map(cell_len, listed.splitlines())) <= max(min(columns, 100), 42)
    if columns >= 100:
        assert "  make_clouds         Disparity maps to point clouds.\n" in listed
        assert len(listed.strip().rpartition("\n\n")[2].splitlines()) == len(COMMANDS)


def test_its_version(program: Program) -> None:
    assert program("--version") == (0, f"pseudolidar {pseudolidar.__version__}\n", "")


def test_an_unknown_name_is_one_line(program: Program) -> None:
    assert program("studdy") == (2, "", "error: studdy: no such command; did you mean study?\n")
    assert program("detect-objects")[2].endswith("did you mean detect_objects?\n")
    status, _, errors = program("zzz")
    assert status == 2 and errors == f"error: zzz: no such command; expected one of {', '.join(COMMANDS)}\n"


@pytest.mark.parametrize("name", ["study", "evaluate"])
def test_help_of_a_command_is_that_of_its_script(name: str) -> None:
    programs = (["-m", "pseudolidar", name], [f"scripts/{name}.py"])
    asked = [subprocess.run([sys.executable, *one, "--help"], cwd=REPOSITORY, capture_output=True) for one in programs]
    assert asked[0].stdout == asked[1].stdout and asked[0].stdout


def test_help_is_what_the_configuration_says(program: Program) -> None:
    status, shown, errors = program("study", "experiment=town", "--help")
    assert (status, errors) == (0, "")
    assert shown.startswith("The case study: ")
    written = (CONFIGS / "study.yaml").read_text()
    for line in written[written.index("\nseed:") :].strip().splitlines():
        assert line in shown or "_target_" in line
    assert "\ndataset@study.data=town_mini\n" in shown
    assert "\ndataset: kitti, town_half, town_highway, town_mini\n" in shown
    assert re.search(r"^stereo@study.u=null +# before the update", shown, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, program: Program) -> None:
    status, shown, errors = program(name, "-h")
    assert (status, errors) == (0, "") and re.search(f"\n\n *pseudolidar {name} ", shown) and "_target_" not in shown
    settings = shown.partition("inside of one:\n\n")[2]
    assert f"pseudolidar {name} " not in settings.partition("\n\nWith all files")[0], "the use is said once"
    written = (CONFIGS / f"{name}.yaml").read_text()
    assert all(line in settings for line in re.findall(r"^[a-z]\w*: .*$", written, re.MULTILINE))
    assert re.search(r"^[a-z_]+: ", settings, re.MULTILINE)


def test_own_configurations(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own configurations" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\ndefaults: [demo]\nseeds: 7\nstudy: {name: mine}\n")
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["experiment=mine", "--config-dir", str(own.parent)],
        ["--config-dir", own.parent.name, "experiment=mine"],
        [f"--config-dir={own.parent}", "experiment=mine"],
    ):
        status, composed, _ = program("study", *arguments, "--cfg", "job")
        assert status == 0 and "\nseeds: 7\n" in composed and "  name: mine\n" in composed
    missing = program("study", "experiment=mine")
    assert missing[0] == 2 and missing[2].startswith("error: experiment: found mine, expected one of demo")


@pytest.mark.parametrize(
    ("typed", "choices"),
    [
        ("pseudolidar stu", "study"),
        ("pseudolidar study experiment=kitti_p", "experiment=kitti_paper"),
        ("pseudolidar train_stereo output=u.pt training.optim", "training.optimizer="),
        ("pseudolidar studdy experiment=kitti_p", ""),
    ],
)
def test_the_tab_key(typed: str, choices: str, tmp_path: Path) -> None:
    (tmp_path / "pseudolidar").write_text(f'#!/bin/sh\nexec {sys.executable} -m pseudolidar "$@"\n')
    (tmp_path / "pseudolidar").chmod(0o755)
    completed = """
        eval "$(pseudolidar -sc install=bash | sed s/__main__.py/pseudolidar/)"
        read -ra words <<<"$COMP_LINE"
        COMP_CWORD=$((${#words[@]} - 1)) hydra_bash_completion
        echo "${COMPREPLY[*]}"
    """
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    environment |= {"COMP_LINE": typed, "COMP_POINT": str(len(typed))}
    done = subprocess.run(["bash", "-c", completed], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (choices, "")


def test_a_wheel_carries_all_that_runs(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tmp_path)
    for name in ("pseudolidar", "configs"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    script = "from setuptools import build_meta; build_meta.build_wheel('.')"
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, empty = tmp_path / "site", tmp_path / "empty"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)

    def files(folder: Path) -> set[str]:
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}

    ours = {name for name in files(tmp_path / "pseudolidar") if not name.startswith("benchmarks/")}
    ours = {name for name in ours if Path(name).suffix in (".py", ".jinja", ".js", ".pt", ".typed")}
    assert ours >= {f"weights/{weights.name.lower()}.pt" for weights in Weights} | {"py.typed"}
    settings = {f"configs/{name}" for name in files(CONFIGS) - {"README.md"}}
    assert files(site / "pseudolidar") == ours | settings
    (entry_points,) = site.glob("*.dist-info/entry_points.txt")
    assert entry_points.read_text() == "[console_scripts]\npseudolidar = pseudolidar.__main__:main\n"

    for folder in ("labels", "results"):
        (empty / folder).mkdir(parents=True)
    line = "Car 0 0 0.1 100 120 200 180 1.5 1.6 3.9 -2 1.6 15 0.1"
    (empty / "labels/000000.txt").write_text(line)
    (empty / "results/000000.txt").write_text(f"{line} 0.9")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "PYTHONPATH": str(site)
    }

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "pseudolidar", *arguments]
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "KITTI average precision of result files." in run("--help")
    assert "written to ap.json" in run("evaluate", "labels=labels", "results=results", "output=ap.json")
    assert (empty / "ap.json").is_file()
    where = "import pseudolidar.command_line.running as running; print(running.CONFIGS)"
    found = subprocess.run([sys.executable, "-c", where], cwd=empty, env=environment, capture_output=True, text=True)
    assert found.stdout.strip() == str(site / "pseudolidar" / "configs")
