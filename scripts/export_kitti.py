"""A data set for OpenPCDet and mmdetection3d: python scripts/export_kitti.py data=DIR clouds=DIR output=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("export_kitti")
