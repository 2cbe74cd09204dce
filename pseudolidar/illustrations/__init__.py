"""Figures 2, 3 and 4 of the paper as systems on known distributions, where every error term can be computed."""

from pseudolidar.illustrations.cases import illustrations, run_illustrations
from pseudolidar.illustrations.figures import draw_illustration
from pseudolidar.illustrations.remedies import run_remedies
from pseudolidar.illustrations.report import illustrations_data, illustrations_report

__all__ = [
    "draw_illustration",
    "illustrations",
    "illustrations_data",
    "illustrations_report",
    "run_illustrations",
    "run_remedies",
]
