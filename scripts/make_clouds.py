"""Disparity maps to point clouds: make_clouds.py disparity=DIR calib=DIR output=DIR [cloud=near_only] [format=ply]."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from pseudolidar.cloud import write_clouds
from pseudolidar.command_line import clear_errors, instantiate
from pseudolidar.files import FormatError
from pseudolidar.inference import Shard
from pseudolidar.kitti import DISPARITY_SUFFIXES


@hydra.main(version_base="1.3", config_path="../configs", config_name="make_clouds")
def main(config: DictConfig) -> None:
    """One cloud for every disparity map in the folder; clouds that are there are kept."""
    with clear_errors():
        folder = Path(config.disparity)
        frame_ids = sorted({path.stem for path in folder.glob("*.*") if path.suffix in DISPARITY_SUFFIXES})
        if not frame_ids:
            raise FormatError(folder, "folder", "none", f"disparity maps: {', '.join(DISPARITY_SUFFIXES)}")
        settings = {**instantiate(config.cloud), "format": config.format, "workers": config.workers}
        shard = Shard.from_text(config.shard)
        write_clouds(folder, config.calib, config.output, shard.of(frame_ids), **settings)
        print(f"clouds: {config.output}")


if __name__ == "__main__":
    main()
