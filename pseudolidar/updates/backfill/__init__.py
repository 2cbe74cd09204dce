"""Candidate boxes as items, versions of a detection system as classifiers: what to run again, what to replace."""

from pseudolidar.updates.backfill.archive import Archive, Waiting
from pseudolidar.updates.backfill.candidates import Candidates, read_candidates
from pseudolidar.updates.backfill.comparison import Policy, Trial, compare_policies
from pseudolidar.updates.backfill.frames import frame_count, frames_to_run
from pseudolidar.updates.backfill.labelling import LABELS, Answers, LabelledFrames, Truth
from pseudolidar.updates.backfill.run import BackfillSettings, Outcome, run_backfill
from pseudolidar.updates.backfill.scoring import Changes, changes, object_flips
from pseudolidar.updates.backfill.versions import Classifier, Version, classifier, versions_from

__all__ = [
    "LABELS",
    "Answers",
    "Archive",
    "BackfillSettings",
    "Candidates",
    "Changes",
    "Classifier",
    "LabelledFrames",
    "Outcome",
    "Policy",
    "Trial",
    "Truth",
    "Version",
    "Waiting",
    "changes",
    "classifier",
    "compare_policies",
    "frame_count",
    "frames_to_run",
    "object_flips",
    "read_candidates",
    "run_backfill",
    "versions_from",
]
