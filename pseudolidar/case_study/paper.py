"""The figures of "Fixes That Fail" (Wu et al., arXiv 2103.11766), Tables 1 to 3, that every run is shown beside."""

from typing import Final

DISPARITY_MAE_PX: Final = {"u": (1.28, 1.32, 1.12, 1.11), "u'": (1.21, 1.21, 1.20, 1.20)}
"""Table 2: disparity MAE by ground-truth depth, in the order of `stereo.RANGES_M`."""

AP: Final = {
    ("Car", "P-RCNN", "3d"): {"u": 39.91, "u'": 38.75, "y": 68.06},
    ("Car", "F-PTNET", "3d"): {"u": 33.64, "u'": 32.78, "y": 55.46},
    ("Pedestrian", "P-RCNN", "3d"): {"u": 34.42, "u'": 27.64, "y": 55.19},
    ("Pedestrian", "F-PTNET", "3d"): {"u": 43.02, "u'": 43.10, "y": 62.16},
    ("Car", "P-RCNN", "bev"): {"u": 50.34, "u'": 49.30, "y": 78.43},
    ("Car", "F-PTNET", "bev"): {"u": 43.79, "u'": 42.77, "y": 67.35},
    ("Pedestrian", "P-RCNN", "bev"): {"u": 38.51, "u'": 31.47, "y": 63.00},
    ("Pedestrian", "F-PTNET", "bev"): {"u": 50.49, "u'": 48.29, "y": 65.92},
}
"""Table 1: AP by class, detector and view; pedestrians at 0-20 m, their detector trained at any distance."""

AP_NEAR_ONLY: Final = {
    ("Pedestrian", "P-RCNN", "3d"): {"u": 30.53, "u'": 34.20, "y": 55.19},
    ("Pedestrian", "F-PTNET", "3d"): {"u": 44.10, "u'": 46.14, "y": 62.16},
    ("Pedestrian", "P-RCNN", "bev"): {"u": 34.09, "u'": 38.83, "y": 64.25},
    ("Pedestrian", "F-PTNET", "bev"): {"u": 51.84, "u'": 53.99, "y": 65.23},
}
"""Table 3: pedestrian detector trained without pedestrians, and points, beyond 20 m; scored at 0-20 m."""
