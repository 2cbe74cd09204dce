"""One command from its arguments to its end: compose the configuration, make and check the settings, call `main`."""

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import pseudolidar
from pseudolidar.command_line.overrides import as_typed, explained
from pseudolidar.command_line.process import clear_errors, prepare_process
from pseudolidar.command_line.settings import TARGET, arguments_of, conform, type_hints
from pseudolidar.files import InputError

CONFIGS = Path(pseudolidar.__file__).parents[1] / "configs"
"""The folder of configurations."""

_CONFIGURATION = "configuration"

# Settings of Hydra's own for every command: no folder, no files and no logging of its own.
_OF_HYDRA = ("hydra.run.dir=.", "hydra.output_subdir=null", "hydra/hydra_logging=none", "hydra/job_logging=none")


def run_command(name: str, arguments: Sequence[str] | None = None) -> None:
    """Run `main` of `pseudolidar.commands.NAME` with the settings of configs/NAME.yaml and of the command line.

    The hints of its keyword arguments say what types the settings have; with a single one of a dataclass, that is made
    of the whole configuration. An argument `configuration` is the text of the composed configuration.

    Args:
        name: of the command.
        arguments: of the command line; None: this process's.

    Raises:
        SystemExit: after a mistake: see `clear_errors`.
    """
    prepare_process()
    given = list(sys.argv[1:] if arguments is None else arguments)
    with clear_errors():
        # Hydra would print errors itself, in many lines, and end the process.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        if any("=" in argument for argument in given):
            given = as_typed(given, _hints(_main(name)), CONFIGS)
        # Hydra would call it by this module's name. Its parser wants all settings together, behind the options.
        first = next((place for place, one in enumerate(given) if "=" in one and not one.startswith("-")), len(given))
        sys.argv[1:] = [*given[:first], f"hydra.job.name={name}", *_OF_HYDRA, *given[first:]]

        # A function within this one, so that a launcher hands it over to its jobs as it is.
        def task(config: DictConfig) -> None:
            with clear_errors():
                _call(name, config)

        try:
            hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name=name)(task)()
        except HydraException as error:
            raise InputError(explained(error, _known_settings(name, given))) from error
        except OmegaConfBaseException as error:
            raise InputError(str(error).strip().split("\n")[0]) from error


def _call(name: str, config: DictConfig) -> None:
    main = _main(name)
    try:
        missing = sorted(_missing(OmegaConf.to_container(config), ""))
        if missing:
            raise InputError(
                f"{', '.join(missing)}: found nothing, expected {'a value' if len(missing) == 1 else 'values'}"
            )
        settings = OmegaConf.to_container(config, resolve=True)
        text = OmegaConf.to_yaml(config, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(str(error).strip().split("\n")[0]) from error
    assert isinstance(settings, dict)
    extra = {_CONFIGURATION: text} if _CONFIGURATION in inspect.signature(main).parameters else {}
    try:
        if TARGET in settings:
            (whole,) = _hints(main, whole=True)
            call = {whole: conform(settings, type_hints(main)[whole], "")}
        else:
            call = arguments_of(main, {str(key): value for key, value in settings.items()}, later=(_CONFIGURATION,))
    except InputError as error:
        raise InputError(_renamed(str(error), config)) from error
    main(**call, **extra)


def _main(name: str) -> Callable[..., None]:
    function: Callable[..., None] = importlib.import_module(f"pseudolidar.commands.{name}").main
    return function


def _hints(main: Callable[..., None], whole: bool = False) -> dict[str, Any]:
    """Types of a command's settings by name."""
    hints = {name: hint for name, hint in type_hints(main).items() if name not in ("return", _CONFIGURATION)}
    if not whole and list(hints) == ["settings"]:
        return type_hints(hints["settings"])
    return hints


def _renamed(message: str, config: DictConfig) -> str:
    """The message with the name of the setting that the user gave, where another one only repeats it: `${seeds}`."""
    name, _, rest = message.partition(":")
    if re.fullmatch(r"[\w.]+", name):
        parent, _, key = name.rpartition(".")
        node = OmegaConf.select(config, parent) if parent else config
        if isinstance(node, DictConfig) and key in node and OmegaConf.is_interpolation(node, key):
            source = re.fullmatch(r"\$\{([\w.]+)\}", str(OmegaConf.to_container(node, resolve=False)[key]))  # type: ignore[index, call-overload]
            if source is not None:
                return f"{source[1]}:{rest}"
    return message


def _missing(settings: Any, name: str) -> Iterator[str]:
    """Names of all settings that have to be given and weren't."""
    if settings == "???":
        yield name
    elif isinstance(settings, dict):
        for key, value in settings.items():
            yield from _missing(value, f"{name}.{key}" if name else str(key))


def _known_settings(name: str, arguments: Sequence[str]) -> list[str]:
    """Names of all settings, of the groups that were chosen as far as they can be."""
    groups = [argument for argument in arguments if (CONFIGS / re.split("[@=]", argument)[0]).is_dir()]
    for choice in (groups, []):
        GlobalHydra.instance().clear()
        try:
            with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
                return list(_names(hydra.compose(name, choice), ""))
        except (HydraException, OmegaConfBaseException):
            continue
    return []


def _names(config: DictConfig, prefix: str) -> list[str]:
    names = []
    for key in map(str, config):
        names.append(f"{prefix}{key}")
        if not OmegaConf.is_missing(config, key) and not OmegaConf.is_interpolation(config, key):
            value = config[key]
            if isinstance(value, DictConfig):
                names += _names(value, f"{prefix}{key}.")
    return names
