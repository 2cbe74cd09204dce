"""Figures 2 to 4 of the paper, and two more, on known distributions: python scripts/illustrations.py [output=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("illustrations")
