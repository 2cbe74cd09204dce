"""Frames to look at: python scripts/view.py data=DIR frame=000012 [results=DIR] [clouds=DIR] [disparity=PATH]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("view")
