"""Curves of trainings, done or under way: python scripts/plot_training.py runs=[u.pt,u2.pt] output=curves.png."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("plot_training")
