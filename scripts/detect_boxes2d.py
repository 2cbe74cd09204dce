"""Detect 2D boxes: python scripts/detect_boxes2d.py model=FILE data=DIR split=val output=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("detect_boxes2d")
