"""A study's trained models as folders, one a source of depth, for `scripts/detect.py`."""

import shutil
from pathlib import Path

from pseudolidar.case_study.clouds import DEPTH
from pseudolidar.case_study.detectors import BOXES2D
from pseudolidar.case_study.disparity import MODEL_FILE
from pseudolidar.case_study.settings import FILE_NAMES
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.files import replacing
from pseudolidar.systems import Step

_PREFIXES = {"P-RCNN": "pointrcnn", "F-PTNET": "frustum"}


def write_model_folders(study: CaseStudy, folder: Path) -> list[Path]:
    """Copy the models of a finished study to `folder`/SOURCE/, named as `pipeline.Models` expects them.

    One folder for each source that detectors were trained on, of the first seed: its disparity model, the 2D detector
    if the study has one, the detectors trained on whole clouds. The oracle's folder has no disparity model. Models that
    an earlier study left there go: a folder holds those of one system.

    Returns:
        the folders.
    """
    folders = []
    for name in FILE_NAMES.values():
        for left in (folder / name).glob("*.pt"):
            left.unlink()
    for source in study.sources:
        target = folder / FILE_NAMES[source]
        steps: dict[str, tuple[str, Step]] = {"disparity.pt": (DEPTH, "train"), "boxes2d.pt": (BOXES2D, "predict")}
        for place in study.places:
            if place.kind in _PREFIXES and not place.near_only:
                name = f"{_PREFIXES[place.kind]}_{place.class_name.lower()}.pt"
                steps[name] = (place.vertex, "train")
        stages = study.systems[source].stages(study.seeds[0])
        for name, step in steps.items():
            if step in stages and (model := study.store.folder(stages[step]) / MODEL_FILE).is_file():
                with replacing(target / name) as temporary:
                    shutil.copyfile(model, temporary)
        folders.append(target)
    return folders
