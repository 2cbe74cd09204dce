"""Prediction updates for detections: candidate boxes are the items, versions of a detection system the classifiers."""

from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.run import BackfillResult, BackfillSettings, run_backfill

__all__ = ["Archive", "BackfillResult", "BackfillSettings", "Waiting", "run_backfill"]
