"""The walk-through in Python: run from top to bottom, what each piece prints written below it.

python -m tests.readme.walkthrough writes the page anew, and its pictures: two minutes on two cores.
"""

import io
import os
import re
import shutil
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pseudolidar.command_line import prepare_process
from tests.readme.commands import REPOSITORY

WALKTHROUGH = REPOSITORY / "pseudolidar/case_study/WALKTHROUGH.md"
PICTURES = REPOSITORY / ".readme"
PIECE = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def run_anew(text: str) -> str:
    """The page with what its code prints now; pictures are saved in the current folder."""
    names: dict[str, Any] = {"__name__": "__main__"}

    def run(piece: re.Match[str]) -> str:
        out = io.StringIO()
        # Errors name the line of the page.
        lines_before = "\n" * text.count("\n", 0, piece.start("code"))
        with redirect_stdout(out):
            exec(compile(lines_before + piece["code"], WALKTHROUGH, "exec"), names)
        printed = "".join(f"{line.rstrip()}\n" for line in out.getvalue().rstrip().splitlines())
        return f"```python\n{piece['code']}```\n" + (f"\n```text\n{printed}```\n" if printed else "")

    return PIECE.sub(run, text)


def main() -> None:
    """Run the page in an empty folder; keep its text and pictures."""
    prepare_process()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        text = run_anew(WALKTHROUGH.read_text())
        os.chdir(REPOSITORY)
        for picture in Path(folder).glob("*.webp"):
            shutil.copy(picture, PICTURES)
    WALKTHROUGH.write_text(text)


if __name__ == "__main__":
    main()
