"""Objects from stereo pairs: detect.py left=FILE right=FILE calib=FILE [models=DIR] (or data=, drive=)."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("detect")
