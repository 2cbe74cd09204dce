"""Prediction updates on real data without downloads: scikit-learn's digits, and five classifiers of rising accuracy."""

from pseudolidar.updates.digits_stream.claims import (
    AgainstReplace,
    EntropyAgainstRandom,
    against_replace,
    entropy_against_random,
)
from pseudolidar.updates.digits_stream.classifiers import (
    ALIKE,
    CLASSES,
    DIVERSE,
    DigitsStream,
    Kind,
    digits_stream,
    likeliest_smoothing,
)
from pseudolidar.updates.digits_stream.experiment import Experiment, Scores, run_experiment, score
from pseudolidar.updates.digits_stream.figures import stream_figure
from pseudolidar.updates.digits_stream.report import stream_data, stream_report
from pseudolidar.updates.digits_stream.runs import ARRIVAL_STEP, Policy, Run, Selection, run_policy

__all__ = [
    "ALIKE",
    "ARRIVAL_STEP",
    "CLASSES",
    "DIVERSE",
    "AgainstReplace",
    "DigitsStream",
    "EntropyAgainstRandom",
    "Experiment",
    "Kind",
    "Policy",
    "Run",
    "Scores",
    "Selection",
    "against_replace",
    "digits_stream",
    "entropy_against_random",
    "likeliest_smoothing",
    "run_experiment",
    "run_policy",
    "score",
    "stream_data",
    "stream_figure",
    "stream_report",
]
