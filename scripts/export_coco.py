"""2D labels or boxes as COCO JSON: python scripts/export_coco.py data=DIR split=train output=FILE.json."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("export_coco")
