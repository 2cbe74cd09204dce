""" "Fixes That Fail", section 4: disparity models, clouds and detectors as a system; its tables and its report."""

from pseudolidar.case_study.clouds import FolderData
from pseudolidar.case_study.detectors import CommandDetector
from pseudolidar.case_study.disparity import Checkpoint, CommandDisparity, DisparityFolder, MatchingDisparity
from pseudolidar.case_study.outputs import write_model_folders, write_results
from pseudolidar.case_study.power import VertexNoise, seeds_table, study_cost, study_noise, what_decides
from pseudolidar.case_study.remedies import remedies_summary
from pseudolidar.case_study.scores import AveragePrecisionLoss, PrecisionChoice
from pseudolidar.case_study.settings import (
    CaseStudySettings,
    DetectionsFile,
    DetectorPlace,
    DiagnosisChoice,
    InitialDetectors,
    Reference,
    on_device,
)
from pseudolidar.case_study.study import CaseStudy
from pseudolidar.case_study.tables import disparity_table, summary_tables

__all__ = [
    "AveragePrecisionLoss",
    "CaseStudy",
    "CaseStudySettings",
    "Checkpoint",
    "CommandDetector",
    "CommandDisparity",
    "DetectionsFile",
    "DetectorPlace",
    "DiagnosisChoice",
    "DisparityFolder",
    "FolderData",
    "InitialDetectors",
    "MatchingDisparity",
    "PrecisionChoice",
    "Reference",
    "VertexNoise",
    "disparity_table",
    "on_device",
    "remedies_summary",
    "seeds_table",
    "study_cost",
    "study_noise",
    "summary_tables",
    "what_decides",
    "write_model_folders",
    "write_results",
]
