"""Pseudo-LiDAR: stereo pairs to KITTI-scored 3D detections, and what an update of one model does to the others."""

__version__ = "0.1.0"
