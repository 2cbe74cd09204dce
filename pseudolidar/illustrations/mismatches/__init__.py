"""Four small systems of learned models on pictures of digits, in which a better upstream model defeats itself."""

from pseudolidar.illustrations.mismatches.figures import draw_flipped, draw_series
from pseudolidar.illustrations.mismatches.images import DataName, DigitImages, WriteImages, read_images
from pseudolidar.illustrations.mismatches.remedies import run_remedies
from pseudolidar.illustrations.mismatches.report import (
    advice_table,
    mismatches_data,
    mismatches_report,
    overview_table,
    shown_update,
)
from pseudolidar.illustrations.mismatches.results import Finished, flipped_images, run_mismatches
from pseudolidar.illustrations.mismatches.series import SETTINGS, mismatches

__all__ = [
    "SETTINGS",
    "DataName",
    "DigitImages",
    "Finished",
    "WriteImages",
    "advice_table",
    "draw_flipped",
    "draw_series",
    "flipped_images",
    "mismatches",
    "mismatches_data",
    "mismatches_report",
    "overview_table",
    "read_images",
    "run_mismatches",
    "run_remedies",
    "shown_update",
]
