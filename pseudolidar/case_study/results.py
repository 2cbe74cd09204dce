"""Every number of a case study as one JSON file."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from pseudolidar.case_study.clouds import DEPTH
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.files import replacing
from pseudolidar.systems import Change


def write_results(study: CaseStudy, path: Path) -> None:
    """Write verdict, disparity errors and average precisions of every seed, and what failed; equal for equal artifacts.

    Keys: verdict (sentences, self_defeating, changes), disparity (source -> seed -> region -> range -> metrics),
    average_precision (detector -> source -> seed -> official | loose -> `Evaluation.to_dict`), failed (stage -> why).
    """
    results = {
        "verdict": _verdict(study),
        "disparity": {
            source: {seed: study.errors(source, seed).to_dict() for seed in study.seeds}
            for source in study.upstream
            if study.is_there(source, DEPTH)
        },
        "average_precision": {
            place.vertex: {
                source: {
                    seed: {
                        name: study.evaluation(source, place, seed, loose).to_dict()
                        for name, loose in (("official", False), ("loose", True))
                    }
                    for seed in study.seeds
                }
                for source in study.sources_of(place)
                if study.is_there(source, place.vertex)
            }
            for place in (*study.places, *study.variants)
        },
        "failed": {str(failure.stage): failure.message for failure in study.result.failed},
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(results, indent=1))


def _verdict(study: CaseStudy) -> dict[str, Any] | None:
    verdict = study.verdict
    if verdict is None:
        return None
    return {
        "self_defeating": verdict.self_defeating,
        "sentences": verdict.sentences(),
        "own": _change(verdict.own),
        "descendants": {name: _change(change) for name, change in verdict.descendants.items()},
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
