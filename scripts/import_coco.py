"""2D boxes from COCO JSON: python scripts/import_coco.py results=FILE.json annotations=FILE.json output=DIR."""

from pseudolidar.command_line import run_command

if __name__ == "__main__":
    run_command("import_coco")
