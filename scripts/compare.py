"""Two sets of result files and the interval of their difference: python scripts/compare.py labels=DIR a=DIR b=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("compare")
