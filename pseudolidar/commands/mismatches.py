"""Four small systems of learned models in which a fix fails.

pseudolidar mismatches [output=DIR] [data=svhn root=DIR device=cuda]
"""

from pathlib import Path

from pseudolidar.commands.outputs import write_outputs
from pseudolidar.illustrations.mismatches import (
    SETTINGS,
    DataName,
    DigitImages,
    WriteImages,
    advice_table,
    draw_flipped,
    draw_series,
    flipped_images,
    mismatches,
    mismatches_data,
    mismatches_report,
    overview_table,
    read_images,
    run_mismatches,
    run_remedies,
    shown_update,
)
from pseudolidar.systems import ArtifactStore, Stage, default_workers
from pseudolidar.tables import text_console
from pseudolidar.training import require_device


def main(
    *,
    output: Path,
    data: DataName,
    root: Path | None,
    download: bool,
    seeds: int,
    device: str,
    workers: int | None,
    configuration: str,
) -> None:
    """Train what is not there yet, print what was found, write *.png, report.html (all tables), results.json."""
    require_device(device)
    task = WriteImages(data, root)
    if download and root is not None:
        read_images(data, root, download=True)
    store, images = ArtifactStore(output / "artifacts"), Stage("images", task)
    series = mismatches(images, SETTINGS[data], device)
    at_once = default_workers() if workers is None else workers
    results = run_mismatches(store, series, seeds, at_once)
    remedied = run_remedies(store, series, seeds, at_once)
    shown = DigitImages.read(store.folder(images))
    curves = {each.series.name: draw_series(each) for each in results}
    flipped = {}
    for each in results:
        found = flipped_images(store, each, shown_update(each).pair, shown.digits)
        flipped[each.series.name] = found, draw_flipped(shown, found, each.series.downstream.question)
    report = mismatches_report(results, curves, flipped, remedied, data, configuration)
    drawn = {f"{name}-flipped": figure for name, (_, figure) in flipped.items() if figure}
    printed = overview_table(results), advice_table(remedied)
    text_console().print(f"{report.lead}\n", style="bold", markup=False)
    write_outputs(output, report, {**curves, **drawn}, mismatches_data(results, remedied), printed)
    print(f"report: {output / 'report.html'}")
