"""Figures 2, 3 and 4 of the paper as systems on known distributions, where every error term can be computed."""

from pseudolidar.illustrations.cases import Illustration, Result, State, illustrations, run_illustrations
from pseudolidar.illustrations.decomposition import ErrorDecomposition, decompose
from pseudolidar.illustrations.figures import draw_illustration
from pseudolidar.illustrations.report import illustration_table, illustrations_data, illustrations_report

__all__ = [
    "ErrorDecomposition",
    "Illustration",
    "Result",
    "State",
    "decompose",
    "draw_illustration",
    "illustration_table",
    "illustrations",
    "illustrations_data",
    "illustrations_report",
    "run_illustrations",
]
