"""The case study of "Fixes That Fail": disparity models, clouds, detectors; its tables and its report."""
