"""Errors of disparity maps by depth: python scripts/evaluate_disparity.py disparity=DIR data=DIR split=val."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("evaluate_disparity")
