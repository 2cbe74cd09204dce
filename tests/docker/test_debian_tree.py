"""The CPU image's installation steps, carried out in a clean Debian tree, and the project running in what they made.

Slow (some ten minutes, 12 GB of disk), needs root, debootstrap and mirrors: runs only where DEBIAN_TREE names a folder
to build in. DEBIAN_TREE_TARGET is the image (cpu), DEBIAN_TREE_TORCH_INDEX the build argument TORCH_INDEX.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.debian_tree import DebianTree, TreeBuilder
from tests.docker.dockerfile import DOCKERFILE, REPOSITORY, read_stages

pytestmark = pytest.mark.skipif(
    "DEBIAN_TREE" not in os.environ, reason="DEBIAN_TREE is not set; it names a folder for 12 GB of trees"
)
STRANGER = "12345:12345"


@pytest.fixture(scope="module")
def image() -> Iterator[DebianTree]:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        pytest.fail("DEBIAN_TREE is set, but this takes root and debootstrap (apt-get install debootstrap)")
    folder = Path(os.environ["DEBIAN_TREE"]).resolve()
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    arguments = {}
    if index := os.environ.get("DEBIAN_TREE_TORCH_INDEX"):
        arguments["TORCH_INDEX"] = index
    target = os.environ.get("DEBIAN_TREE_TARGET", "cpu")
    folder.mkdir(parents=True)
    try:
        yield TreeBuilder(read_stages(DOCKERFILE), folder, REPOSITORY, ignore, arguments).build(target)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _a_container_of_its_own(image: DebianTree) -> None:
    # A container starts with the image's own /cache, without what another user left in an earlier one.
    for path in (image.root / "cache").iterdir():
        shutil.rmtree(path)


def succeeds(image: DebianTree, command: str, user: str | None = None) -> str:
    done = image.run(command.split(), user)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("user", [None, STRANGER])
def test_the_health_command_runs_a_kernel(image: DebianTree, user: str | None) -> None:
    done = image.run(image.health, user)
    if image.health[-1] == "cuda":
        assert done.returncode == 1 and "PyTorch sees no GPU" in done.stderr, done.stdout + done.stderr
    else:
        assert done.returncode == 0 and "works" in done.stdout, done.stdout + done.stderr


def test_processes_are_an_ordinary_user_who_can_change_results_and_nothing_else(image: DebianTree) -> None:
    assert succeeds(image, "id -u").strip() == "1000"
    assert succeeds(image, "mkdir /outputs/mine /cache/mine") == ""
    for path in ("/app/theirs", "/opt/venv/theirs", "/etc/theirs"):
        assert image.run(["touch", path]).returncode != 0, path


def test_the_image_holds_no_more_than_what_runs(image: DebianTree) -> None:
    held = set(succeeds(image, "ls -A /app").split())
    assert held == {"LICENSE", "README.md", "configs", "docker", "pseudolidar", "pyproject.toml", "scripts"}
    assert image.run(["sh", "-c", "command -v gcc git"]).returncode != 0


def test_an_interrupted_container_ends_at_once(image: DebianTree) -> None:
    done = image.run(["sh", "-c", 'python -c "import time; time.sleep(60)" & kill -TERM $PPID; wait'], timeout_s=20)
    assert done.returncode != 0


def test_a_town_is_made_learned_from_and_predicted(image: DebianTree) -> None:
    succeeds(image, "pseudolidar make_town output=/outputs/town preset=mini train=4 val=2 workers=1")
    data = "data=/outputs/town"
    succeeds(image, f"pseudolidar train_stereo {data} output=/outputs/u.pt training.steps=3")
    succeeds(image, f"pseudolidar predict_disparity model=/outputs/u.pt {data} split=val output=/outputs/disparity")
    calib = "calib=/outputs/town/training/calib"
    succeeds(image, f"pseudolidar make_clouds disparity=/outputs/disparity {calib} output=/outputs/clouds")
    printed = succeeds(image, f"pseudolidar evaluate_disparity disparity=/outputs/disparity {data} split=val")
    assert "0-20" in printed
    succeeds(image, f"pseudolidar view {data} frame=000000 output=/outputs/frame.png")
    assert (image.root / "outputs/frame.png").stat().st_size > 10_000
