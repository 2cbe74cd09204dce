"""What the package and its scripts import comes with its installation, not with that of the tests."""

import ast
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
# Extras asked for alone by `study ray=...`, `logger=wandb` and `view output=NAME.rrd`; Triton, which comes with
# PyTorch for GPUs, on one.
OPTIONAL = {"ray", "rerun", "triton", "wandb"}


def installed_with(requirements: list[str]) -> set[str]:
    """The distributions that pip installs for some requirements, theirs included."""
    found: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if name in found:
            continue
        found.add(name)
        try:
            waiting += [Requirement(line) for line in requires(name) or []]
        except PackageNotFoundError:
            continue
    return found


def imports_of(path: Path) -> set[str]:
    """Top names of all modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", ["pseudolidar", "scripts"])
def test_every_import_is_installed_without_the_extras(folder: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    there = installed_with(project["dependencies"])
    homes = packages_distributions()
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for name in imports_of(path) - sys.stdlib_module_names - {"pseudolidar"} - OPTIONAL:
            distributions = {canonicalize_name(home) for home in homes.get(name, [])}
            # The published benchmark's library is measured where it is there.
            assert distributions & there or name == "fpsample", f"{path.relative_to(REPOSITORY)}: {name}"


def test_what_judges_the_code_is_pinned_and_no_part_of_the_tests() -> None:
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lint = [Requirement(line) for line in extras["lint"] if line != "pseudolidar[test]"]
    assert not {each.name for each in lint} & {Requirement(line).name for line in extras["test"]}
    for requirement in lint:
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement.name
