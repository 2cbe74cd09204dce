"""A case study of what a test gives it, and nothing else."""

from typing import Any

from pseudolidar.case_study import CaseStudySettings, InitialDetectors, PrecisionChoice


def bare_study(**given: Any) -> CaseStudySettings:
    """The settings `given`; without detectors, pre-training, diagnosis and the like where they aren't."""
    nothing: dict[str, Any] = {
        "seed": 0, "seeds": 1, "max_seeds": 2, "max_height_m": 1.0, "near_m": 20.0, "pretraining": None,
        "references": {}, "pointrcnn": {}, "frustum_pointnet": {}, "commands": {},
        "initial_detectors": InitialDetectors({}, {}), "boxes2d": None, "diagnosis": None,
        "remedies": (), "time_budget": None, "congruence": 1.0, "ensemble_members": 2,
        "test_loss": PrecisionChoice("bev", "official", "moderate"),
    }  # fmt: skip
    return CaseStudySettings(**nothing | given)
