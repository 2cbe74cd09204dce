"""Speed and memory on this machine: python scripts/benchmark.py cloud | psmnet."""

import argparse
import importlib

from pseudolidar.command_line import clear_errors


def main() -> None:
    """Measure one part of the package and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=("cloud", "psmnet"), help="what is measured")
    name = parser.parse_args().name
    with clear_errors():
        importlib.import_module(f"pseudolidar.benchmarks.{name}").main()


if __name__ == "__main__":
    main()
