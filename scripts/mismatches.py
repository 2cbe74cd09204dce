"""Four small systems in which a fix fails: python scripts/mismatches.py [output=DIR] [data=svhn root=DIR]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("mismatches")
