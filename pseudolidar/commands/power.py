"""How many seeds and frames decide a change of a size, and in how many hours.

pseudolidar power study=outputs/demo [change=3] [change_px=0.05] [seeds=[5,10]]
pseudolidar power seed_deviation=2 frame_deviation=30 frames=100 [change=3]
"""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from pseudolidar.case_study import CaseStudy, CaseStudySettings, VertexNoise, seeds_table, study_cost, study_noise
from pseudolidar.command_line import conform
from pseudolidar.files import FormatError, InputError
from pseudolidar.systems import ArtifactStore, ChangeNoise, default_workers
from pseudolidar.tables import print_tables

AP_UNIT, PX_UNIT = "points of AP40", "px"


def main(
    *,
    study: Path | None,
    change: float,
    change_px: float,
    probability: float,
    seeds: Sequence[int],
    seed_deviation: float | None,
    seed_deviation_px: float | None,
    frame_deviation: float | None,
    frames: int | None,
    workers: int | None,
) -> None:
    """Print a line for each vertex of a study, or one for noise that is stated."""
    for name, value in (("change", change), ("change_px", change_px)):
        if not value > 0:
            raise InputError(f"{name}: found {value}, expected more than 0")
    for one in seeds:
        if one < 2:
            raise InputError(f"seeds: found {one}, expected 2 or more: one decides nothing")
    if not 0 < probability < 1:
        raise InputError(f"probability: found {probability}, expected a number between 0 and 1")
    deviations = {AP_UNIT: seed_deviation, PX_UNIT: seed_deviation_px}
    stated = {unit: value for unit, value in deviations.items() if value is not None}
    if study is None:
        noises, costs = [_stated_noise(seed_deviation, frame_deviation, frames)], {}
    else:
        for name, given in (("frame_deviation", frame_deviation), ("frames", frames)):
            if given is not None:
                raise InputError(f"{name}: found {given}, expected nothing beside study=DIR, whose frames say it")
        case = _opened(study)
        noises = study_noise(case, stated)
        costs = {noise.vertex: study_cost(case, [noise.vertex]) for noise in noises}
    sizes = {AP_UNIT: change, PX_UNIT: change_px}
    at_once = default_workers() if workers is None else workers
    print_tables([seeds_table(noises, sizes, costs, seeds, probability, at_once)])


def _stated_noise(seed_deviation: float | None, frame_deviation: float | None, frames: int | None) -> VertexNoise:
    if seed_deviation is None or frame_deviation is None or frames is None:
        raise InputError("study: found nothing, expected a study's output, or seed_deviation, frame_deviation, frames")
    if frames < 2:
        raise InputError(f"frames: found {frames}, expected 2 or more")
    return VertexNoise("stated", "as stated", AP_UNIT, frames, (ChangeNoise(seed_deviation, frame_deviation),))


def _opened(output: Path) -> CaseStudy:
    """The study of an output folder, as far as it was made."""
    path = output / "config.yaml"
    if not path.is_file():
        raise InputError(f"study: found no {path}, expected the output of pseudolidar study")
    config = OmegaConf.to_container(OmegaConf.load(path))
    if not isinstance(config, dict) or "study" not in config:
        raise FormatError(path, "file", "no study", "the settings of pseudolidar study")
    settings: CaseStudySettings = conform(config["study"], CaseStudySettings, f"{path}: study")
    case = CaseStudy(settings, ArtifactStore(output / "artifacts")).as_far_as_made()
    if case.verdict is None:
        raise InputError(f"study: found none that is finished in {output}, expected one: pseudolidar study")
    return case
