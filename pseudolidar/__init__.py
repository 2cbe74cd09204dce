"""Pseudo-LiDAR: stereo pairs to KITTI-scored 3D detections, and what an update of one model does to the others."""

import os

__version__ = "0.1.0"

# Before PyTorch is imported: threads that wait for each other in a busy loop make training four to twenty times slower
# as soon as anything else wants one of the cores; sleeping costs nothing that can be measured.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Large tensors come in huge pages (Linux): touching 200 MB of ordinary ones first takes as long as convolving them.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
