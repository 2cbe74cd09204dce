"""The case study: python scripts/study.py experiment=demo|town|highway|kitti_paper [seeds=3] [output=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("study")
