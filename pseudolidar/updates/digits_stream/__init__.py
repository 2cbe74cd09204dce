"""Prediction updates on real data without downloads: scikit-learn's digits, and five classifiers of rising accuracy."""

from pseudolidar.updates.digits_stream.classifiers import ALIKE, DIVERSE, Kind, digits_stream
from pseudolidar.updates.digits_stream.experiment import Experiment, Policy, run_experiment, run_policy
from pseudolidar.updates.digits_stream.figures import stream_figures
from pseudolidar.updates.digits_stream.report import stream_data, stream_report

__all__ = [
    "ALIKE",
    "DIVERSE",
    "Experiment",
    "Kind",
    "Policy",
    "digits_stream",
    "run_experiment",
    "run_policy",
    "stream_data",
    "stream_figures",
    "stream_report",
]
