"""Write a synthetic town as a KITTI object data set: make_town.py output=DIR preset=mini train=300 val=100 seed=0."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("make_town")
