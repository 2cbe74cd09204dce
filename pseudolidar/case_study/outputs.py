"""The files of a case study beside its report: every number as JSON, and its trained models."""

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

from pseudolidar.case_study.detectors import BOXES2D
from pseudolidar.case_study.disparity import DISPARITY, MODEL_FILE
from pseudolidar.case_study.power import study_noise
from pseudolidar.case_study.remedies import recommendation, tried, tried_places
from pseudolidar.case_study.settings import UPDATE, file_name
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.files import replacing, write_file
from pseudolidar.systems import Change, Step

_PREFIXES = {"P-RCNN": "pointrcnn", "F-PTNET": "frustum"}


def write_results(study: CaseStudy, path: Path) -> None:
    """Write the verdict, the errors of every seed, and what failed; equal for equal artifacts.

    Keys: verdict (sentences, self_defeating, changes; from two seeds on noise: vertex -> `ChangeNoise`, frames),
    disparity (source -> seed -> region -> range -> metrics), average_precision (detector -> source -> seed ->
    official | loose -> `Evaluation.to_dict`), failed (stage -> why); with remedies also remedies (recommendation,
    versions, detectors -> remedy -> changes and flips).
    """
    results = {
        "verdict": _verdict(study),
        "disparity": {
            source: {seed: study.errors(source, seed).to_dict() for seed in study.seeds}
            for source in study.upstream_there
        },
        "average_precision": {
            place.vertex: {
                source: {
                    seed: {
                        name: study.evaluation(source, place, seed, loose).to_dict()
                        for name, loose in (("official", False), ("loose", True))
                    }
                    for seed in study.seeds_of(source)
                }
                for source in study.sources_there(place)
            }
            for place in (*study.places, *study.variants)
        },
        **({"remedies": _remedies(study)} if study.settings.remedies else {}),
        "failed": {str(failure.stage): failure.message for failure in study.result.failed},
    }
    write_file(path, json.dumps(results, indent=1))


def _verdict(study: CaseStudy) -> dict[str, Any] | None:
    verdict = study.verdict
    if verdict is None:
        return None
    return {
        "self_defeating": verdict.self_defeating,
        "sentences": verdict.sentences(),
        "own": _change(verdict.own),
        "descendants": {name: _change(change) for name, change in verdict.descendants.items()},
        "noise": {
            one.title: dataclasses.asdict(one.choices[0]) | {"frames": one.frames}
            for one in study_noise(study)
            if len(one.choices) == 1
        },
    }


def _remedies(study: CaseStudy) -> dict[str, Any]:
    found = recommendation(study)
    detectors: dict[str, Any] = {}
    for place in tried_places(study):
        detectors[place.vertex] = {
            remedy: {
                "from_u": _change(one.from_old),
                "from_update": None if one.from_update is None else _change(one.from_update),
                "negative_flips_percent": _plain(one.negative.value),
                "positive_flips_percent": _plain(one.positive.value),
                "negative_flips_from_update": (
                    None if one.negative_from_update is None else _change(one.negative_from_update)
                ),
            }
            for remedy, one in tried(study, place).items()
        }
    return {
        "recommendation": None if found is None else found.sentence(),
        "versions": None if found is None else dict(found.versions),
        "detectors": detectors,
    }


def _change(change: Change) -> dict[str, Any]:
    values = dataclasses.asdict(change)
    values["interval"] = [change.interval.low, change.interval.high]
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> Any:
    """The value for JSON, which has no NaN: None instead."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def write_model_folders(study: CaseStudy, folder: Path) -> None:
    """Copy the models of a finished study to `folder`/SOURCE/, named as `pipeline.Models` expects them.

    One folder for each source that detectors were trained on, of the first seed: its disparity model, the 2D detector
    if the study has one, the detectors trained on whole clouds. The oracle's folder has no disparity model. Models that
    an earlier study left there go: a folder holds those of one system.
    """
    for source in (*UPDATE, *study.settings.references, "y"):
        for left in (folder / file_name(source)).glob("*.pt"):
            left.unlink()
    for source in study.sources:
        steps: dict[str, tuple[str, Step]] = {"disparity.pt": (DISPARITY, "train"), "boxes2d.pt": (BOXES2D, "predict")}
        for place in study.places:
            if place.kind in _PREFIXES and not place.near_only:
                name = f"{_PREFIXES[place.kind]}_{place.class_name.lower()}.pt"
                steps[name] = (place.vertex, "train")
        stages = study.systems[source].stages(study.seeds[0])
        for name, step in steps.items():
            if step in stages and (model := study.store.folder(stages[step]) / MODEL_FILE).is_file():
                with replacing(folder / file_name(source) / name) as temporary:
                    shutil.copyfile(model, temporary)
