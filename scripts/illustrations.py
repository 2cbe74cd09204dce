"""How a better model makes a system worse, in four small systems: python scripts/illustrations.py [output=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("illustrations")
