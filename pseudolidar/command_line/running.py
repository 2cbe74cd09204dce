"""One command from its arguments to its end: compose the configuration, make and check the settings, call `main`."""

import gc
import importlib
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import pseudolidar
from pseudolidar.command_line.help import command_help
from pseudolidar.command_line.overrides import as_typed, explained
from pseudolidar.command_line.process import clear_errors, prepare_process
from pseudolidar.command_line.settings import TARGET, arguments_of, conform, type_hints
from pseudolidar.files import InputError

_PACKAGE = Path(pseudolidar.__file__).parent
CONFIGS = next(place for place in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if place.is_dir())
"""The folder of configurations: the package's own where it is installed, else beside it, in the checkout."""

COMMANDS = _PACKAGE / "commands"
"""The folder of the commands' modules."""

_CONFIGURATION, _COMMAND = "configuration", "command"

# Settings of Hydra's own for every command: no folder, no files and no logging of its own.
_OF_HYDRA = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/hydra_logging=none", "hydra/job_logging=none")


def run_command(name: str, arguments: Sequence[str] | None = None) -> None:
    """Run `main` of `pseudolidar.commands.NAME` with the settings of configs/NAME.yaml and of the command line.

    The hints of its keyword arguments say what types the settings have; with a single one of a dataclass, that is made
    of the whole configuration. An argument `configuration` is the text of the composed configuration, an argument
    `command` the line that starts the same again.

    Args:
        name: of the command.
        arguments: of the command line; None: this process's.

    Raises:
        SystemExit: after a mistake: see `clear_errors`.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    given = typed
    if {"-h", "--help"} & set(given):
        print(command_help(COMMANDS / f"{name}.py", CONFIGS))
        return
    prepare_process()
    with clear_errors():
        # Hydra would print errors itself, in many lines, and end the process.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        if any("=" in argument for argument in given):
            given = as_typed(given, lambda: _hints(_main(name)), CONFIGS)
        # Hydra would call it by this module's name. Its parser wants all settings together, behind the options.
        first = next((place for place, one in enumerate(given) if "=" in one and not one.startswith("-")), len(given))
        sys.argv[1:] = [*given[:first], f"hydra.job.name={name}", *_OF_HYDRA, *given[first:]]

        # A function within this one, so that a launcher hands it over to its jobs as it is.
        def task(config: DictConfig) -> None:
            with clear_errors(), _one_line():
                _call(name, config, shlex.join(["pseudolidar", name, *typed]))

        try:
            with _one_line():
                hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(task)()
        except HydraException as error:
            raise InputError(explained(error, given, _known_settings(name, given))) from error


@contextmanager
def _one_line() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        raise InputError(str(error).strip().split("\n")[0]) from error


def _call(name: str, config: DictConfig, command: str) -> None:
    main = _main(name)
    given = _flat(OmegaConf.to_container(config))
    missing = sorted(setting for setting, value in given.items() if value == "???")
    if missing:
        raise InputError(
            f"{', '.join(missing)}: found nothing, expected {'a value' if len(missing) == 1 else 'values'}"
        )
    settings: Any = OmegaConf.to_container(config, resolve=True)
    extra = {}
    if _CONFIGURATION in type_hints(main):
        extra[_CONFIGURATION] = OmegaConf.to_yaml(config, resolve=True)
    if _COMMAND in type_hints(main):
        extra[_COMMAND] = command
    try:
        if TARGET in settings:
            (whole,) = type_hints(main).keys() - extra.keys()
            call = {whole: conform(settings, type_hints(main)[whole], "")}
        else:
            call = arguments_of(main, settings, later=extra)
    except InputError as error:
        # With the name of the setting that the user gave, where another one only repeats it: `${seeds}`.
        setting, colon, rest = str(error).partition(":")
        repeated = re.fullmatch(r"\$\{([\w.]+)\}", str(given.get(setting)))
        raise InputError(f"{repeated[1] if repeated else setting}{colon}{rest}") from error
    main(**call, **extra)


@cache
def _main(name: str) -> Callable[..., None]:
    # What is imported is no garbage: to look for some among it, then and at the end, takes a third of the time. Once:
    # what the first of several runs leaves behind is to be freed.
    gc.disable()
    try:
        function: Callable[..., None] = importlib.import_module(f"pseudolidar.commands.{name}").main
    finally:
        gc.freeze()
        gc.enable()
    return function


@cache
def _hints(main: Callable[..., None]) -> dict[str, Any]:
    """Types of a command's settings by name."""
    hints = {name: hint for name, hint in type_hints(main).items() if name not in (_CONFIGURATION, _COMMAND)}
    return type_hints(hints["settings"]) if list(hints) == ["settings"] else hints


def _known_settings(name: str, arguments: Sequence[str]) -> list[str]:
    """Names of all settings, of the groups that were chosen as far as they can be."""
    groups = [argument for argument in arguments if (CONFIGS / re.split("[@=]", argument)[0]).is_dir()]
    for choice in (groups, []):
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
                return list(_flat(OmegaConf.to_container(hydra.compose(name, choice))))
        except (HydraException, OmegaConfBaseException):
            continue
    return []


def _flat(settings: Any, prefix: str = "") -> dict[str, Any]:
    """All settings by their dotted names: groups themselves, then what is in them."""
    flat = {}
    for key, value in settings.items():
        flat[f"{prefix}{key}"] = value
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
    return flat
