"""The images' Dockerfile: pinned, and true to the project it installs."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.docker.dockerfile import DOCKERFILE, REPOSITORY, lineage, read_stages, sent_to_build

IMAGES = ("cpu", "cuda")
CHECK = REPOSITORY / "docker" / "check.py"
STAGES = read_stages(DOCKERFILE)


@pytest.fixture(scope="module")
def project() -> dict:
    settings: dict = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return settings


@pytest.fixture(scope="module")
def context() -> set[str]:
    """What of a fresh clone the build sees."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    paths = [REPOSITORY / name for name in listed if (REPOSITORY / name).is_file()]
    return {path.relative_to(REPOSITORY).as_posix() for path in sent_to_build(REPOSITORY, paths, ignore)}


def test_every_base_is_pinned_to_its_content_and_named_in_the_labels() -> None:
    bases = {stage.base for stage in STAGES.values()} - set(STAGES)
    assert len(bases) == 1
    tag, _, digest = bases.pop().partition("@")
    assert re.fullmatch(r"debian:[a-z]+-20\d{6}-slim", tag)
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", digest)
    labels = "".join(each.value for each in STAGES["runtime"].instructions if each.name == "LABEL")
    assert f'base.name="docker.io/library/{tag}"' in labels
    assert f'base.digest="{digest}"' in labels


def test_labels_say_the_projects_version_and_licence(project: dict) -> None:
    labels = "".join(each.value for each in STAGES["runtime"].instructions if each.name == "LABEL")
    assert f'image.version="{project["version"]}"' in labels
    assert f'image.licenses="{project["license"]}"' in labels


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_is_an_ordinary_user_with_an_init_and_a_health_command(target: str, context: set[str]) -> None:
    last = {each.name: each for stage in lineage(STAGES, target) for each in stage.instructions}
    user, _, group = last["USER"].value.partition(":")
    # A number: an orchestrator that forbids root can't look up a name.
    assert int(user) > 0 and int(group) > 0
    assert last["ENTRYPOINT"].words()[0] == "tini"
    health = last["HEALTHCHECK"].value.removeprefix("CMD ")
    assert health == f'["python", "docker/check.py", "{target}"]'
    assert "docker/check.py" in context
    program, command, *_ = last["CMD"].words()
    assert program == "pseudolidar" and f"pseudolidar/commands/{command}.py" in context


@pytest.mark.parametrize("target", IMAGES)
def test_an_image_holds_packages_but_nothing_that_only_installs_them(target: str) -> None:
    assert "environment" not in {stage.name for stage in lineage(STAGES, target)}
    copies = [each for each in STAGES[target].instructions if each.name == "COPY"]
    # Packages first, so that a change of the source leaves their layer as it is.
    assert [copy.flags.get("from") for copy in copies] == [(f"{target}-packages",), None]


def test_a_change_of_the_source_installs_nothing_anew() -> None:
    before_packages = {stage.name: stage for target in IMAGES for stage in lineage(STAGES, f"{target}-packages")}
    copied = {
        source
        for stage in before_packages.values()
        for each in stage.instructions
        if each.name == "COPY"
        for source in each.words()[:-1]
    }
    assert copied == {"pyproject.toml", "docker/constraints.txt"}


def test_every_source_of_a_copy_is_sent_to_the_build(context: set[str]) -> None:
    for stage in STAGES.values():
        for each in stage.instructions:
            if each.name == "COPY" and "from" not in each.flags:
                for source in each.words()[:-1]:
                    assert source in context | {"."}, f"line {each.line}: {source}"
            for origin in each.flags.get("from", ()):
                assert origin in STAGES, f"line {each.line}: {origin}"


def test_the_build_sees_all_that_runs_and_nothing_else(context: set[str]) -> None:
    tops = {name.partition("/")[0] for name in context}
    assert tops == {"LICENSE", "README.md", "configs", "docker", "pseudolidar", "pyproject.toml", "scripts"}
    for folder, pattern in (("pseudolidar", "**/*.py"), ("pseudolidar", "**/*.jinja"), ("configs", "**/*.yaml")):
        for path in (REPOSITORY / folder).glob(pattern):
            assert path.relative_to(REPOSITORY).as_posix() in context


@pytest.mark.parametrize(
    ("patterns", "sent"),
    [
        ([], {"a.py", "b/a.py", "b/c/a.py"}),
        (["*"], set()),
        (["b"], {"a.py"}),
        (["*", "!b/c"], {"b/c/a.py"}),
        (["*/a.py"], {"a.py", "b/c/a.py"}),
        (["**/a.py"], set()),
        (["**/c", "# all", ""], {"a.py", "b/a.py"}),
        (["*", "!b", "b/c"], {"b/a.py"}),
    ],
)
def test_of_a_dockerignores_lines_the_last_that_matches_decides(patterns: list[str], sent: set[str]) -> None:
    root = Path("/checkout")
    paths = [root / name for name in ("a.py", "b/a.py", "b/c/a.py")]
    assert {path.relative_to(root).as_posix() for path in sent_to_build(root, paths, patterns)} == sent


def test_pinned_packages_are_ones_the_project_accepts(project: dict) -> None:
    lines = (REPOSITORY / "docker" / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    required = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["cuda"]]]
    pinned = [each for each in required if canonicalize_name(each.name) in pins]
    # A dependency that is new is left to pip until the file is written again; not half of them.
    assert len(pinned) > len(required) / 2
    for requirement in pinned:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), str(requirement)


def test_the_health_command_runs_a_kernel(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["check.py", "cpu"])
    assert runpy.run_path(str(CHECK))["main"]() == 0
    assert re.fullmatch(r"works: PyTorch \S+, kernels on the processor\n", capsys.readouterr().out)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_health_command_says_what_a_container_without_a_gpu_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["check.py", "cuda"])
    assert runpy.run_path(str(CHECK))["main"]() == 1
    assert re.match(r"broken: PyTorch sees no GPU: .*--gpus all", capsys.readouterr().err)
