"""How every command starts, reads its settings, and ends: `run_command` for those of `pseudolidar.commands`."""

from pseudolidar.command_line.help import describe
from pseudolidar.command_line.process import clear_errors, prepare_process
from pseudolidar.command_line.running import COMMANDS, CONFIGS, run_command
from pseudolidar.command_line.settings import conform

__all__ = ["COMMANDS", "CONFIGS", "clear_errors", "conform", "describe", "prepare_process", "run_command"]
