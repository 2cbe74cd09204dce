"""Trained models over whole data sets: in several processes, in shards for several machines, resumed where it broke.

Each job has a module of its own, so that a worker process imports no more than it needs: `disparity`, `objects`,
`boxes2d`, `pairs`.
"""

from pseudolidar.inference.workers import WHOLE, FrameJob, Shard, run_job

__all__ = ["WHOLE", "FrameJob", "Shard", "run_job"]
