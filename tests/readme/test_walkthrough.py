"""The walk-through in Python runs, in small, and prints what it says it prints, but for the numbers."""

import re
from pathlib import Path

import pytest

from tests.readme.walkthrough import PICTURES, PIECE, WALKTHROUGH, run_anew

TEXT = WALKTHROUGH.read_text()
SHOWN = set(re.findall(rf"\]\(../../{PICTURES.name}/(.*?)\)", TEXT))


def without_numbers(text: str) -> str:
    """Numbers, and what depends on them: spaces, the length of rules, the mark of an interval without 0."""
    return re.sub(r"[\s─*]+", " ", re.sub(r"[+−]?\d+(\.\d+)?", "N", text))


def test_it_runs_in_small_and_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = TEXT.replace('{"val": 60}', '{"val": 6}')
    assert small != TEXT
    assert without_numbers(run_anew(small)) == without_numbers(small)
    assert {path.name for path in tmp_path.glob("*.webp")} == SHOWN


def test_it_is_short_and_its_pictures_small() -> None:
    lines = [line for piece in PIECE.finditer(TEXT) for line in piece["code"].splitlines()]
    assert len([line for line in lines if line and not line.startswith("from ")]) <= 35
    assert sum((PICTURES / name).stat().st_size for name in SHOWN) < 600_000
