"""What each command imports: nothing heavy to show its help or its settings, and else only what it works with."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pseudolidar.command_line.running import CONFIGS

ROOT = Path(__file__).parents[2]
# Each takes from a tenth of a second to seconds; torch._dynamo is PyTorch's compiler.
HEAVY = {
    "torch", "torch._dynamo", "torchvision", "lightning_fabric", "numba", "open3d", "cv2", "scipy.stats",
    "scipy.optimize", "matplotlib", "sklearn", "networkx", "shapely", "embreex", "loky", "ray",
}  # fmt: skip
ARRAYS = {"numba", "cv2"}
NETWORKS = ARRAYS | {"torch"}
# What each may import before it starts to work; more comes where a setting asks for it.
WORKING = {
    "backfill": NETWORKS | {"matplotlib", "networkx"},
    "compare": ARRAYS,
    "detect": NETWORKS | {"matplotlib"},
    "detect_boxes2d": NETWORKS | {"torch._dynamo", "torchvision"},
    "detect_objects": NETWORKS,
    "evaluate": ARRAYS,
    "evaluate_disparity": NETWORKS | {"networkx"},
    "export_coco": NETWORKS,
    "export_kitti": ARRAYS,
    "illustrations": {"torch", "cv2", "scipy.optimize", "matplotlib", "networkx", "shapely"},
    "import_coco": NETWORKS,
    "joint_training": NETWORKS | {"scipy.stats", "scipy.optimize", "matplotlib", "networkx", "sklearn"},
    "make_clouds": NETWORKS,
    "make_town": ARRAYS,
    "mismatches": {"torch", "cv2", "scipy.optimize", "matplotlib", "networkx", "shapely"},
    "pack_weights": {"torch"},
    "plot_training": {"torch", "cv2", "matplotlib"},
    "power": NETWORKS | {"networkx"},
    "predict_disparity": NETWORKS,
    "study": NETWORKS | {"networkx"},
    "train_detector": NETWORKS | {"matplotlib"},
    "train_detector2d": NETWORKS | {"torch._dynamo", "torchvision", "matplotlib"},
    "train_stereo": NETWORKS | {"matplotlib"},
    "update_stream": NETWORKS | {"scipy.stats", "scipy.optimize", "matplotlib", "networkx", "sklearn"},
    "view": NETWORKS | {"matplotlib"},
}


NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
MAIN = "from pseudolidar.__main__ import main; main()"
PATH = dict.fromkeys(NAMES, "output") | {"power": "study"}
SETTINGS = {name: ((MAIN, name, "--help"), (MAIN, name, f"{PATH[name]}=a/b-c.d", "--cfg", "job")) for name in NAMES}
WITHOUT_A_NAME = ((MAIN,), (MAIN, "study", "experiment=demo", "output=x", "--cfg", "job"))
Call = tuple[str, ...]

# Each call is forked from one process: a start of its own would import Hydra, or PyTorch, once more.
FORKING = """
import json, os, sys
import {before}
for program, *arguments in json.load(sys.stdin):
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv[1:] = arguments
        try:
            exec(program)
        finally:
            print("\\nimported:", *sys.modules, file=sys.stderr, flush=True)
        os._exit(0)  # at once: taking PyTorch apart lasts a second
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status != 0:
        sys.exit(status)
"""


@cache
def imported(before: str, *calls: Call) -> dict[Call, set[str]]:
    """The heavy modules that each call, a program and its arguments, has at its end, those of `before` included."""
    done = subprocess.run(
        [sys.executable, "-c", FORKING.format(before=before)], input=json.dumps(calls), cwd=ROOT, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [line.split()[1:] for line in done.stderr.splitlines() if line.startswith("imported: ")]
    return {call: HEAVY.intersection(modules) for call, modules in zip(calls, found, strict=True)}


@pytest.mark.parametrize("name", NAMES)
def test_help_and_settings_import_nothing_heavy(name: str) -> None:
    found = imported("pseudolidar.__main__", *(call for calls in SETTINGS.values() for call in calls))
    assert [found[call] for call in SETTINGS[name]] == [set(), set()]


def test_neither_do_a_list_of_commands_and_an_experiment() -> None:
    assert set().union(*imported("pseudolidar.__main__", *WITHOUT_A_NAME).values()) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_command_imports_only_what_it_works_with(name: str) -> None:
    # What several may import is there before they are forked.
    before = WORKING[name] & NETWORKS
    alike = [(f"import pseudolidar.commands.{each}",) for each in NAMES if WORKING[each] & NETWORKS == before]
    found = imported(", ".join(sorted(before)), *alike)
    assert found[f"import pseudolidar.commands.{name}",] <= WORKING[name]
