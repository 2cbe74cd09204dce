"""Candidate boxes as items, versions of a detection system as classifiers: what to run again, what to replace."""

from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.run import BackfillResult, BackfillSettings, run_backfill

__all__ = ["Archive", "BackfillResult", "BackfillSettings", "Waiting", "run_backfill"]
