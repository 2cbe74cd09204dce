"""Remedies as systems: what differs from the update's at which vertex; everything else is the update's own."""

import dataclasses

from pseudolidar.case_study.calibration import UNCALIBRATED, CalibratedDisparity
from pseudolidar.case_study.detectors import TrainedDetector
from pseudolidar.case_study.disparity import DISPARITY, WEIGHTS
from pseudolidar.case_study.fusion import FusedDetector
from pseudolidar.case_study.scores import ScoredDetector
from pseudolidar.systems import System, Vertex


def calibrated_system(after: System) -> System:
    """u' calibrated, and all that is behind it trained on that."""
    behind = [vertex for name, vertex in after.vertices.items() if name not in (DISPARITY, WEIGHTS)]
    calibrated = Vertex(DISPARITY, CalibratedDisparity(), (UNCALIBRATED,), "u' calibrated")
    return System(after.data, [calibrated, *behind], "calibrate", {UNCALIBRATED: (after, DISPARITY)})


def fused_system(before: System, after: System, seed: tuple[int, ...]) -> System:
    """What each detector finds on u and on u', together; see `FusedDetector` for `seed`."""
    taken: dict[str, tuple[System, str]] = {}
    detectors = []
    for name, vertex in after.vertices.items():
        if isinstance(model := vertex.model, ScoredDetector):
            parents = f"{name}-older", f"{name}-newer"
            taken |= {parents[0]: (before, name), parents[1]: (after, name)}
            fused = FusedDetector(model.class_name, near_m=model.near_m, loss=model.loss, parents=parents, seed=seed)
            detectors.append(Vertex(name, fused, parents, vertex.title))
    return System(after.data, detectors, "fuse", taken)


def congruent_system(before: System, after: System, weight: float) -> System:
    """Detectors of the study's own kinds on the clouds of u', held to those on u with a weight."""
    taken: dict[str, tuple[System, str]] = {}
    detectors = []
    for name, vertex in after.vertices.items():
        if isinstance(vertex.model, TrainedDetector):
            older = f"{name}-older"
            taken |= {parent: (after, parent) for parent in vertex.parents} | {older: (before, name)}
            model = dataclasses.replace(vertex.model, older=older, congruence=weight)
            detectors.append(dataclasses.replace(vertex, model=model, trained_on={older: "train"}))
    return System(after.data, detectors, "congruent", taken)


def mixed_system(before: System, after: System) -> System:
    """Detectors of the study's own kinds on the clouds of u', trained on those of u as well."""
    taken: dict[str, tuple[System, str]] = {}
    detectors = []
    for vertex in after.vertices.values():
        if isinstance(vertex.model, TrainedDetector):
            cloud = vertex.model.cloud
            older = f"{cloud}-before"
            taken |= {parent: (after, parent) for parent in vertex.parents} | {older: (before, cloud)}
            model = dataclasses.replace(vertex.model, more_clouds=(older,))
            detectors.append(dataclasses.replace(vertex, model=model, trained_on={older: "predict"}))
    return System(after.data, detectors, "mixed", taken)
