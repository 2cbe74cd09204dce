"""Frames to run again and labels to replace when a new version arrives: python scripts/backfill.py data=DIR ..."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("backfill")
