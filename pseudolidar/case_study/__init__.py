""" "Fixes That Fail", section 4: disparity models, clouds and detectors as a system; its tables and its report."""

from pseudolidar.case_study.commands import CommandDetector, CommandDisparity, DisparityFolder
from pseudolidar.case_study.disparity_table import disparity_table
from pseudolidar.case_study.models import write_model_folders
from pseudolidar.case_study.report import case_study_report
from pseudolidar.case_study.results import write_results
from pseudolidar.case_study.scores import AveragePrecisionLoss, PrecisionChoice
from pseudolidar.case_study.settings import (
    CaseStudySettings,
    Checkpoint,
    DetectionsFile,
    DetectorPlace,
    DiagnosisChoice,
    FolderData,
    SemiGlobalMatchingChoice,
    SemiGlobalMatchingRow,
)
from pseudolidar.case_study.study import CaseStudy

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
    "PrecisionChoice",
    "SemiGlobalMatchingChoice",
    "SemiGlobalMatchingRow",
    "case_study_report",
    "disparity_table",
    "write_model_folders",
    "write_results",
]
