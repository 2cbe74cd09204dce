"""Stored predictions and streams of better classifiers, on digits: python scripts/update_stream.py [output=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("update_stream")
