"""The case study: whether a better disparity model makes the detectors worse.

pseudolidar study experiment=demo|town|highway|ensemble|kitti|streets|kitti_paper [seeds=3|auto] [output=DIR]
"""

import sys
import time
from pathlib import Path
from typing import Literal

from rich.console import Console

from pseudolidar.case_study import (
    CaseStudy,
    CaseStudySettings,
    on_device,
    remedies_summary,
    summary_tables,
    what_decides,
    write_model_folders,
    write_results,
)
from pseudolidar.files import InputError, write_file
from pseudolidar.systems import ArtifactStore, RunResult, default_workers, make_stages
from pseudolidar.tables import print_tables, text_console


def main(
    *,
    study: CaseStudySettings,
    output: Path,
    workers: int | None,
    ray: str | None,
    device: Literal["cpu", "cuda"] | None,
    seed: int,
    seeds: int | Literal["auto"],
    max_seeds: int,
    max_hours: float | None,
    tables: Literal["summary", "all"],
    configuration: str,
    command: str,
) -> None:
    """Make what is not there yet, print the verdict, write report.html, results.json, config.yaml, models/.

    `seed`, `seeds` and `max_seeds` are those of `study`; `tables`: the verdict's figures, or the report's whole tables
    before them; `command`: what started this one, to say what would decide more.
    """
    case = CaseStudy(study if device is None else on_device(study, device), ArtifactStore(output / "artifacts"))
    write_file(output / "config.yaml", configuration)
    at_once = default_workers() if workers is None else workers

    def make(one: CaseStudy) -> CaseStudy:
        one.result = make_stages(one.store, one.wanted(), at_once) if ray is None else _on_ray(one, ray)
        return one

    started = time.monotonic()
    case, took_s = make(case), 0.0
    while further := case.with_another_seed():
        begun = time.monotonic()
        # The first look has two seeds.
        took_s = took_s or (begun - started) / 2
        if max_hours is not None and begun - started + took_s > 3600 * max_hours:
            break
        print(f"undecided after {len(case.seeds)} seeds: {'; '.join(case.undecided)}", file=sys.stderr)
        case = make(further)
        took_s = time.monotonic() - begun
    if case.data.fingerprint in case.result.missing:
        raise InputError(case.result.failed[0].message)
    # Here, since drawing takes longer to import than the settings to check.
    from pseudolidar.case_study.report import case_study_report
    from pseudolidar.viewing import tables_of, write_report

    report = case_study_report(case, configuration)
    if tables == "all":
        print_tables(tables_of(report))
    write_report(report, output / "report.html")
    write_results(case, output / "results.json")
    write_model_folders(case, output / "models")
    text_console().print(f"{report.lead}\n", style="bold", markup=False)
    print_tables((*summary_tables(case), *remedies_summary(case)))
    print(f"models: {output / 'models'}\nreport: {output / 'report.html'}")
    without_seeds = " ".join(part for part in command.split(" ") if not part.startswith("seeds="))
    if decides := what_decides(case, without_seeds, at_once):
        print(decides)
    if case.result.failed:
        Console(stderr=True).print(f"{len(case.result.failed)} stages failed; the report says which", style="red")
        sys.exit(1)


def _on_ray(study: CaseStudy, address: str) -> RunResult:
    """Make the stages on a Ray cluster; `local`: on one of this machine alone."""
    try:
        from pseudolidar.systems.ray_runner import make_stages_on_ray
    except ModuleNotFoundError as error:
        raise InputError(f"ray: found no {error.name}, expected it: pip install 'pseudolidar[ray]'") from error
    return make_stages_on_ray(study.store, study.wanted(), None if address == "local" else address)
