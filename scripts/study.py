"""The case study: python scripts/study.py experiment=demo|town [seed=0] [output=DIR] [study.…=…]."""

import json
import sys
from pathlib import Path

import hydra
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console

from pseudolidar.kitti import replacing
from pseudolidar.study import ArtifactStore, CaseStudy, CaseStudySettings, Scores, case_study_report, table_2
from pseudolidar.study.report import detector_tables
from pseudolidar.viewing import print_tables, write_report


@hydra.main(version_base="1.3", config_path="../configs", config_name="study")
def main(config: DictConfig) -> None:
    """Compose the configuration, run what is not there yet, print the tables, write the report."""
    try:
        settings: CaseStudySettings = hydra.utils.instantiate(config.study, _convert_="all")
        run(settings, Path(config.output), OmegaConf.to_yaml(config, resolve=True))
    except InstantiationException as error:
        sys.exit(f"error: {error.__cause__ or error}")
    except (ValueError, OSError, RuntimeError, OmegaConfBaseException) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def run(settings: CaseStudySettings, output: Path, configuration: str) -> None:
    """Run the study in `output`, print Tables 1, 2 and 3, write report.html, results.json and config.yaml."""
    study = CaseStudy(settings, ArtifactStore(output / "artifacts"))
    with replacing(output / "config.yaml") as temporary:
        temporary.write_text(configuration)
    study.run()
    scores = Scores(study)
    print_tables([*detector_tables(study, scores)[:1], table_2(study), *detector_tables(study, scores)[1:]])
    write_report(case_study_report(study, scores, configuration), output / "report.html")
    with replacing(output / "results.json") as temporary:
        results = {"average_precision": scores.to_dict(), "disparity": {s: study.disparity_errors(s) for s in ("u", "u'")}}
        temporary.write_text(json.dumps(results, indent=1))
    Console().print(f"report: {output / 'report.html'}", highlight=False)


if __name__ == "__main__":
    main()
