"""Frames to run again and labels to replace, for a new version of a model.

pseudolidar backfill data=DIR archive=SPLIT labelled=SPLIT candidates=DIR "versions={u: DIR, v: DIR}"
"""

from pathlib import Path
from shlex import quote

from pseudolidar.tables import print_tables
from pseudolidar.updates.backfill import BackfillSettings, Waiting, run_backfill
from pseudolidar.viewing import tables_of


def main(settings: BackfillSettings, configuration: str) -> None:
    """Go on as far as there are results, print the tables, say where the files are and what is to be run."""
    result = run_backfill(settings, configuration)
    print_tables(tables_of(result.report))
    for path in result.replacements:
        print(f"replacements: {path}")
    print(f"results: {result.results}\nreport: {Path(settings.output) / 'report.html'}")
    if result.waiting is not None:
        print(how_to_run(settings, result.waiting))


def how_to_run(settings: BackfillSettings, waiting: Waiting) -> str:
    """The frames that are to be run, and commands for them, to be copied."""
    version, split = waiting.version, f"backfill_{waiting.version.name}"
    there = Path(settings.data) / "ImageSets" / f"{split}.txt"
    data, candidates = quote(settings.data), quote(settings.candidates)
    if settings.boxes_scores != "probability":
        candidates += f" boxes_scores={settings.boxes_scores}"
    lines = [
        f"{version.name}: {len(waiting.frames)} frames of {settings.archive} to run; results are missing in "
        f"{len(waiting.missing)} frames, the labelled ones among them: {waiting.split_file}",
        f"  cp {quote(str(waiting.split_file))} {quote(str(there))}",
    ]
    for folder in version.folders:
        if folder.name == "results":
            output = quote(str(folder.parent))
            lines.append(f"  pseudolidar detect models=DIR data={data} split={split} output={output}")
        else:
            lines.append(
                f"  pseudolidar detect_objects model=FILE data={data} split={split} clouds=DIR "
                f"boxes={candidates} output={quote(str(folder))}"
            )
    return "\n".join([*lines, "then the same command goes on"])
