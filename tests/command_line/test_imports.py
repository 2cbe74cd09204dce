"""What each command imports: nothing heavy to show its help or its settings, and else only what it works with."""

import subprocess
import sys
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
    "pack_weights": {"torch"},
    "plot_training": {"torch", "cv2", "matplotlib"},
    "predict_disparity": NETWORKS,
    "study": NETWORKS | {"networkx"},
    "train_detector": NETWORKS | {"matplotlib"},
    "train_detector2d": NETWORKS | {"torch._dynamo", "torchvision", "matplotlib"},
    "train_stereo": NETWORKS | {"matplotlib"},
    "update_stream": NETWORKS | {"scipy.stats", "scipy.optimize", "matplotlib", "networkx", "sklearn"},
    "view": NETWORKS | {"matplotlib"},
}


def imported(program: str, *arguments: str) -> set[str]:
    """The heavy modules that a program has imported at its end."""
    program = f"import sys\ntry:\n    {program}\nfinally:\n    print('\\n', *sys.modules, file=sys.stderr)"
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return HEAVY & set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_help_and_settings_import_nothing_heavy(name: str) -> None:
    program = "from pseudolidar.__main__ import main; main()"
    assert imported(program, name, "--help") == set()
    assert imported(program, name, "output=a/b-c.d", "--cfg", "job") == set()


def test_neither_do_a_list_of_commands_and_an_experiment() -> None:
    program = "from pseudolidar.__main__ import main; main()"
    assert imported(program) == imported(program, "study", "experiment=demo", "output=x", "--cfg", "job") == set()


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_a_command_imports_only_what_it_works_with(name: str) -> None:
    assert imported(f"import pseudolidar.commands.{name}") <= WORKING[name]
