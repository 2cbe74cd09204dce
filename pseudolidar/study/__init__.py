"""Systems of models: stages and their artifacts, the paper's case study, its tables and its report."""

from pseudolidar.study.artifacts import ArtifactStore, Stage, parents_first
from pseudolidar.study.case_study import CaseStudy
from pseudolidar.study.disparity_table import disparity_table
from pseudolidar.study.models import write_model_folders
from pseudolidar.study.report import case_study_report
from pseudolidar.study.settings import (
    CaseStudySettings,
    DetectionsFile,
    DetectorRun,
    FolderData,
    SemiGlobalMatchingRow,
    TownData,
)
from pseudolidar.study.tables import Scores, depth_error_table, table_1, table_2, table_3

__all__ = [
    "ArtifactStore",
    "CaseStudy",
    "CaseStudySettings",
    "DetectionsFile",
    "DetectorRun",
    "FolderData",
    "Scores",
    "SemiGlobalMatchingRow",
    "Stage",
    "TownData",
    "case_study_report",
    "depth_error_table",
    "disparity_table",
    "parents_first",
    "table_1",
    "table_2",
    "table_3",
    "write_model_folders",
]
