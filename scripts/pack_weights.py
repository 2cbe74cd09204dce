"""A finished checkpoint in half the bytes: python scripts/pack_weights.py checkpoint=FILE output=FILE."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("pack_weights")
