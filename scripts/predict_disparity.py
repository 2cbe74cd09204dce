"""Disparity maps of a data set or of one pair: predict_disparity.py model=FILE (or sgm) data=DIR output=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("predict_disparity")
