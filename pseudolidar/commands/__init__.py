"""What each script does: a module a command, whose `main` takes the settings of configs/NAME.yaml as arguments."""
