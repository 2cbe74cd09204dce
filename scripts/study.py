"""The case study: python scripts/study.py experiment=demo|town|kitti_paper [seeds=3] [output=DIR] [study.…=…]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("study")
