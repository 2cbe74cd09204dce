"""Systems of models: stages and their artifacts, updates of a model, verdicts, the case study and its report."""

from pseudolidar.study.artifacts import ArtifactStore
from pseudolidar.study.case_study.disparity_table import disparity_table
from pseudolidar.study.case_study.models import write_model_folders
from pseudolidar.study.case_study.report import case_study_report
from pseudolidar.study.case_study.results import write_results
from pseudolidar.study.case_study.scores import PrecisionChoice
from pseudolidar.study.case_study.settings import (
    CaseStudySettings,
    Checkpoint,
    DetectionsFile,
    DetectorPlace,
    DiagnosisChoice,
    FolderData,
    SemiGlobalMatchingChoice,
    SemiGlobalMatchingRow,
    TownData,
)
from pseudolidar.study.case_study.study import CaseStudy
from pseudolidar.study.commands import CommandDetector, CommandDisparity, DisparityFolder
from pseudolidar.study.losses import AveragePrecisionLoss, ItemLosses, MeanLoss
from pseudolidar.study.runner import Outcome, StageFailure, default_workers, make_stages
from pseudolidar.study.stages import Resources, Stage, Task, parents_first
from pseudolidar.study.system import Inputs, Model, Step, System, Vertex
from pseudolidar.study.verdicts import Change, UpdateVerdict, change

__all__ = [
    "ArtifactStore",
    "AveragePrecisionLoss",
    "CaseStudy",
    "CaseStudySettings",
    "Change",
    "Checkpoint",
    "CommandDetector",
    "CommandDisparity",
    "DetectionsFile",
    "DetectorPlace",
    "DiagnosisChoice",
    "DisparityFolder",
    "FolderData",
    "Inputs",
    "ItemLosses",
    "MeanLoss",
    "Model",
    "Outcome",
    "PrecisionChoice",
    "Resources",
    "SemiGlobalMatchingChoice",
    "SemiGlobalMatchingRow",
    "Stage",
    "StageFailure",
    "Step",
    "System",
    "Task",
    "TownData",
    "UpdateVerdict",
    "Vertex",
    "case_study_report",
    "change",
    "default_workers",
    "disparity_table",
    "make_stages",
    "parents_first",
    "write_model_folders",
    "write_results",
]
