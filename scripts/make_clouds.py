"""Disparity maps to point clouds: make_clouds.py disparity=DIR calib=DIR output=DIR [cloud=near_only] [format=ply]."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("make_clouds")
