"""The case study: python scripts/study.py experiment=demo|town|kitti_paper [seeds=3] [output=DIR] [study.…=…]."""

import sys
from pathlib import Path

from rich.console import Console

from pseudolidar.case_study import CaseStudy, CaseStudySettings, case_study_report, write_model_folders, write_results
from pseudolidar.files import InputError, write_file
from pseudolidar.systems import ArtifactStore, RunResult, default_workers, make_stages
from pseudolidar.tables import print_tables
from pseudolidar.viewing import tables_of, write_report


def main(
    *,
    study: CaseStudySettings,
    output: Path,
    workers: int | None,
    ray: str | None,
    seed: int,
    seeds: int,
    configuration: str,
) -> None:
    """Make what is not there yet, print the verdict and the tables, write the report.

    `seed` and `seeds` are those of `study`.
    """
    run(study, output, default_workers() if workers is None else workers, ray, configuration)


def run(settings: CaseStudySettings, output: Path, workers: int, ray: str | None, configuration: str) -> None:
    """Run the study in `output`, print its tables, write report.html, results.json, config.yaml, models/."""
    study = CaseStudy(settings, ArtifactStore(output / "artifacts"))
    write_file(output / "config.yaml", configuration)
    study.result = make_stages(study.store, study.wanted(), workers) if ray is None else on_ray(study, ray)
    if study.data.fingerprint in study.result.missing:
        raise InputError(study.result.failed[0].message)
    report = case_study_report(study, configuration)
    print_tables(tables_of(report))
    write_report(report, output / "report.html")
    write_results(study, output / "results.json")
    write_model_folders(study, output / "models")
    console = Console(highlight=False, soft_wrap=True)
    console.print(report.lead, style="bold", markup=False)
    console.print(f"models: {output / 'models'}")
    console.print(f"report: {output / 'report.html'}")
    if study.result.failed:
        Console(stderr=True).print(f"{len(study.result.failed)} stages failed; the report says which", style="red")
        sys.exit(1)


def on_ray(study: CaseStudy, address: str) -> RunResult:
    """Make the stages on a Ray cluster; `local`: on one of this machine alone."""
    try:
        from pseudolidar.systems.ray_runner import make_stages_on_ray
    except ModuleNotFoundError as error:
        raise InputError(f"ray: found no {error.name}, expected it: pip install 'pseudolidar[ray]'") from error
    return make_stages_on_ray(study.store, study.wanted(), None if address == "local" else address)
