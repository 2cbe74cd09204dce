"""The case study's README: the table and the picture of its registered studies, from their kept results.

python -m tests.readme.registered writes both anew.
"""

import json
import re
from typing import Any

from pseudolidar.statistics import Estimate, Interval, signed
from pseudolidar.systems import ChangeNoise, seeds_to_decide
from pseudolidar.viewing import changes_figure, save_figure
from tests.readme.commands import REPOSITORY

README = REPOSITORY / "pseudolidar/case_study/README.md"
RESULTS = REPOSITORY / "pseudolidar/case_study/results"
PICTURE = REPOSITORY / ".readme/registered.webp"
STUDIES = {"town": "the town", "town_again": "the town again", "highway": "highways", "streets": "real streets"}
_HEADER = "| | | u | u' | change | verdict | seeds that decide it |\n|---|---|---|---|---|---|---|\n"
_TABLE = re.compile(re.escape(_HEADER) + r"(?:\|.*\n)+")


def changes() -> dict[str, dict[str, dict[str, Any]]]:
    """By study and vertex, the change with the noise that it was measured with."""
    found = {}
    for name, title in STUDIES.items():
        verdict = json.loads((RESULTS / f"{name}.json").read_text())["verdict"]
        every = {verdict["own"]["vertex"]: verdict["own"], **verdict["descendants"]}
        found[title] = {vertex: {**one, "noise": verdict["noise"][vertex]} for vertex, one in every.items()}
    return found


def table() -> str:
    """A line for each vertex of each study."""
    lines = [_HEADER]
    for study, vertices in changes().items():
        for number, (vertex, one) in enumerate(vertices.items()):
            digits = 2 if one["unit"] == "px" else 1
            low, high = (f"{round(end, digits) + 0.0:.{digits}f}".replace("-", "−") for end in one["interval"])
            change = f"{signed(one['difference'], digits)} [{low}, {high}]"
            noise = dict(one["noise"])
            frames = noise.pop("frames")
            needed = seeds_to_decide(abs(one["difference"]), ChangeNoise(**noise), frames)
            cells = (
                f"{study}, {len(one['by_seed'])} seeds" if number == 0 else "",
                vertex.replace("the disparity model", "disparity, px"),
                *(f"{value:.{digits}f}" for value in (one["before"], one["after"])),
                change,
                one["word"],
                "more than 200" if needed is None else str(needed),
            )
            lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def main() -> None:
    """Write the table into the README, and the picture."""
    README.write_text(_TABLE.sub(lambda _: table(), README.read_text()))
    panels = {
        study: {
            vertex: Estimate(one["difference"], Interval(*one["interval"]))
            for vertex, one in vertices.items()
            if one["unit"] != "px"
        }
        for study, vertices in changes().items()
        if study != STUDIES["streets"]  # On 28 frames, intervals five times as wide as these.
    }
    save_figure(changes_figure(panels, "change of 100 − AP40 (points)"), PICTURE)


if __name__ == "__main__":
    main()
