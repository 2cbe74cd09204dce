"""Detect objects: python scripts/detect_objects.py model=FILE data=DIR clouds=DIR output=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("detect_objects")
