"""Speed, memory and accuracy on this machine, of one part of the package: benchmark.py NAME [SETTING=VALUE ...]."""

import argparse
import importlib
import inspect

from omegaconf import OmegaConf

from pseudolidar.command_line import clear_errors, prepare_process
from pseudolidar.files import InputError

_NAMES = (
    "cloud", "coverage", "evaluation", "frusta", "gpu", "inference", "pipeline", "point_sets",
    "pointrcnn", "psmnet", "training", "updates",
)  # fmt: skip


def main() -> None:
    """Measure one part of the package and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=_NAMES, help="what is measured")
    parser.add_argument("settings", nargs="*", metavar="SETTING=VALUE", help="what it is measured on")
    arguments = parser.parse_args()
    prepare_process()
    with clear_errors():
        measure = importlib.import_module(f"pseudolidar.benchmarks.{arguments.name}").main
        known = inspect.signature(measure).parameters
        settings = OmegaConf.from_dotlist(arguments.settings)
        for name in settings:
            if name not in known:
                raise InputError(f"setting: found {name!r}, expected one of {', '.join(known) or 'none'}")
        measure(**{str(name): value for name, value in settings.items()})


if __name__ == "__main__":
    main()
