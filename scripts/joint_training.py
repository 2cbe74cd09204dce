"""What training an ensemble jointly does to it: python scripts/joint_training.py [output=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("joint_training")
