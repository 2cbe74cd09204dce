"""What stands beside the code: the top level, how to cite, what changed, the workflow, the form for faults."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import yaml

import pseudolidar

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
TOP_LEVEL = {
    "CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md", "configs", "docker", "pseudolidar", "pyproject.toml",
    "scripts", "tests",
}  # fmt: skip


def read(name: str) -> Any:
    return yaml.safe_load((REPOSITORY / name).read_text())


def test_nothing_else_stands_at_the_top_level() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    assert {name.split("/")[0] for name in listed.splitlines() if not name.startswith(".")} <= TOP_LEVEL


def test_the_citation_names_this_version_and_each_paper_where_it_is_implemented() -> None:
    # Its form is checked by scripts/lint.sh against the schema of cff 1.2.0.
    citation = read("CITATION.cff")
    assert citation["version"] == PROJECT["version"] == pseudolidar.__version__
    assert citation["license"] == PROJECT["license"] and citation["title"] == PROJECT["name"]
    titles = [paper["title"] for paper in citation["references"]]
    assert len(set(titles)) == len(titles) and titles[0].startswith("Fixes That Fail")
    for paper in citation["references"]:
        assert paper["authors"] and 2012 <= paper["year"] <= 2023 and paper.keys() & {"url", "doi"}
        rooms = re.findall(r"pseudolidar\.[\w.]+", paper["scope"])
        assert rooms
        for room in rooms:
            path = REPOSITORY / room.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").is_file(), room


def test_the_list_of_changes_knows_this_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    assert PROJECT["version"] in text
    kinds = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    dates = re.findall(r"^\* (\d{4}-\d\d-\d\d): ", text, re.MULTILINE)
    assert len(dates) == len(re.findall(r"^\* ", text, re.MULTILINE)) > 0


def test_the_workflow_runs_both_commands_on_each_python_that_is_declared() -> None:
    (job,) = read(".github/workflows/test.yml")["jobs"].values()
    declared = [text.split(" :: ")[-1] for text in PROJECT["classifiers"] if "Python :: 3." in text]
    assert job["strategy"]["matrix"]["python"] == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands[-2:] == ["bash scripts/lint.sh", "bash scripts/test.sh"]
    assert all("@v" in step["uses"] for step in job["steps"] if "uses" in step)


def test_a_commit_is_checked_by_the_tools_that_are_pinned() -> None:
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    (hook,) = repository["hooks"]
    # The script installs the extra and runs its tools, so that a version stands in pyproject.toml alone.
    assert hook["entry"] == "bash scripts/lint.sh" and hook["language"] == "system"
    script = (REPOSITORY / "scripts" / "lint.sh").read_text()
    assert 'setup.sh" "[lint]"' in script
    run = set(re.findall(r"^\.venv/bin/([\w-]+)", script, re.MULTILINE))
    pinned = {line.split("==")[0].removesuffix("-bin") for line in PROJECT["optional-dependencies"]["lint"]}
    assert run == pinned - {"pseudolidar[test]", "types-networkx", "numpy"}


def test_the_form_asks_for_what_an_unexpected_error_says() -> None:
    fields = {each["id"]: each["attributes"] for each in read(".github/ISSUE_TEMPLATE/bug.yml")["body"] if "id" in each}
    assert list(fields)[:3] == ["command", "traceback", "versions"]
    assert "from `Traceback` on" in fields["traceback"]["description"]
    said = (REPOSITORY / "pseudolidar/command_line/process.py").read_text()
    assert "from 'Traceback' on, the versions" in said and "PSEUDOLIDAR_TRACEBACK" in said
    assert "PSEUDOLIDAR_TRACEBACK=1" in fields["traceback"]["description"]
