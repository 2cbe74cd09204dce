"""What training an ensemble jointly does to it: losses and diversity on training and test data, with intervals."""

from pseudolidar.ensembles.joint_training.comparison import CollusionVerdict, collusion_verdict
from pseudolidar.ensembles.joint_training.digits import DigitsEnsembles
from pseudolidar.ensembles.joint_training.experiments import Design, Experiment, run_experiments
from pseudolidar.ensembles.joint_training.figures import draw_experiment
from pseudolidar.ensembles.joint_training.measurements import (
    Measurement,
    ObjectiveLosses,
    Snapshot,
    Training,
    read_training,
    write_training,
)
from pseudolidar.ensembles.joint_training.report import joint_training_data, joint_training_report
from pseudolidar.ensembles.joint_training.stereo import StereoEnsembles

__all__ = [
    "CollusionVerdict",
    "Design",
    "DigitsEnsembles",
    "Experiment",
    "Measurement",
    "ObjectiveLosses",
    "Snapshot",
    "StereoEnsembles",
    "Training",
    "collusion_verdict",
    "draw_experiment",
    "joint_training_data",
    "joint_training_report",
    "read_training",
    "run_experiments",
    "write_training",
]
