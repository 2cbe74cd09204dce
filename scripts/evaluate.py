"""KITTI average precision of result files: python scripts/evaluate.py labels=DIR results=DIR output=FILE.json."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("evaluate")
