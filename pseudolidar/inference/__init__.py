"""Trained models over whole data sets: in several processes, in shards for several machines, resumed after a break.

Each job has its own module (`disparity`, `objects`, `boxes2d`, `pairs`), so that a worker imports no more than it
needs.
"""

from pseudolidar.inference.workers import WHOLE, FrameJob, Shard, run_job

__all__ = ["WHOLE", "FrameJob", "Shard", "run_job"]
