"""A study's trained models as folders, one a source of depth, for `scripts/detect.py`."""

import shutil
from pathlib import Path

from pseudolidar.kitti import replacing
from pseudolidar.study.case_study import CaseStudy
from pseudolidar.study.settings import FILE_NAMES

_PREFIXES = {"P-RCNN": "pointrcnn", "F-PTNET": "frustum"}


def write_model_folders(study: CaseStudy, folder: Path) -> list[Path]:
    """Copy the models of a finished study to `folder`/SOURCE/, named as `pipeline.Models` expects them.

    One folder for each source that detectors were trained on: its disparity model, the 2D detector if the study has
    one, the detectors trained on whole clouds. The oracle's folder has no disparity model.

    Returns:
        the folders.
    """
    folders = []
    for source in study.sources:
        target = folder / FILE_NAMES[source]
        files = {}
        if source in study.stereo:
            files["disparity.pt"] = study.stereo[source]
        if study.boxes2d is not None:
            files["boxes2d.pt"] = study.boxes2d.parents[-1]
        for run in study.runs:
            if run.source == source and not run.near_only:
                files[f"{_PREFIXES[run.kind]}_{run.class_name.lower()}.pt"] = study.detectors[run]
        for name, stage in files.items():
            with replacing(target / name) as temporary:
                shutil.copyfile(study.store.folder(stage) / "model.pt", temporary)
        folders.append(target)
    return folders
