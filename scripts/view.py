"""One frame as a picture or a 3D scene: python scripts/view.py data=DIR frame=000012 [results=DIR] [disparity=PATH]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("view")
