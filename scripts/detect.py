"""Objects from stereo pairs: python scripts/detect.py models=DIR left=FILE right=FILE calib=FILE (or data=, drive=)."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("detect")
