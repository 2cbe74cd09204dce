"""The case study: python scripts/study.py experiment=demo|town [seed=0] [output=DIR] [study.…=…]."""

import json
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.kitti import replacing
from pseudolidar.study import (
    ArtifactStore,
    CaseStudy,
    CaseStudySettings,
    Scores,
    case_study_report,
    write_model_folders,
)
from pseudolidar.viewing import print_tables, tables_of, write_report


@hydra.main(version_base="1.3", config_path="../configs", config_name="study")
def main(config: DictConfig) -> None:
    """Compose the configuration, run what is not there yet, print the tables, write the report."""
    with clear_errors():
        run(instantiate(config.study), Path(config.output), OmegaConf.to_yaml(config, resolve=True))


def run(settings: CaseStudySettings, output: Path, configuration: str) -> None:
    """Run the study in `output`, print its tables, write report.html, results.json, config.yaml, models/."""
    study = CaseStudy(settings, ArtifactStore(output / "artifacts"))
    with replacing(output / "config.yaml") as temporary:
        temporary.write_text(configuration)
    study.run()
    scores = Scores(study)
    report = case_study_report(study, scores, configuration)
    print_tables(tables_of(report))
    write_report(report, output / "report.html")
    disparity = {source: study.disparity_errors(source) for source in study.errors}
    with replacing(output / "results.json") as temporary:
        temporary.write_text(json.dumps({"average_precision": scores.to_dict(), "disparity": disparity}, indent=1))
    write_model_folders(study, output / "models")
    Console().print(f"models: {output / 'models'}", highlight=False, soft_wrap=True)
    Console().print(f"report: {output / 'report.html'}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
