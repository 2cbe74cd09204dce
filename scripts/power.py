"""How many seeds decide a change, and in how many hours: python scripts/power.py study=DIR [change=3]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("power")
