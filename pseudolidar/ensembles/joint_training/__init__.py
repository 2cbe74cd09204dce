"""The effect of training an ensemble jointly: losses and diversity on training and test data, with intervals."""

from pseudolidar.ensembles.joint_training.digits import DigitsEnsembles
from pseudolidar.ensembles.joint_training.experiments import Design, run_experiments
from pseudolidar.ensembles.joint_training.figures import draw_experiment
from pseudolidar.ensembles.joint_training.report import joint_training_data, joint_training_report
from pseudolidar.ensembles.joint_training.stereo import StereoEnsembles

__all__ = [
    "Design",
    "DigitsEnsembles",
    "StereoEnsembles",
    "draw_experiment",
    "joint_training_data",
    "joint_training_report",
    "run_experiments",
]
