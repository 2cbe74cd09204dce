"""A command's arguments: values of text settings arrive as they were typed, Hydra's own syntax stays for the rest."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException

from pseudolidar.command_line.settings import alternatives, kind_of, suggestion, type_hints

_ASSIGNMENT = re.compile(r"([+]{0,2})([^=@~+\s]+)=(.*)", re.DOTALL)
# What Hydra too takes for text, whatever the setting's type.
_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_/][\w/.-]*", re.IGNORECASE | re.ASCII)
_NULL_GROUP = re.compile(r"([\w/-]+)(?:@([\w.-]+))?=null", re.IGNORECASE)


def as_typed(arguments: Sequence[str], hints: Callable[[], Mapping[str, Any]], configs: Path) -> list[str]:
    """The arguments of a command line for Hydra's parser.

    A value of a text setting is quoted, whatever it holds: blanks, commas, brackets, an equals sign. As it is stays
    what is meant for Hydra: null where a setting may be null, a list or a mapping where it may be one, what is quoted
    already, `${NAME}` of another setting, several values with `--multirun`. A group that is null is left out, and its
    settings are null; a mapping that is null is empty.

    Args:
        arguments: of the command line.
        hints: gives the types of the command's settings by name; asked for a value that they make a difference to.
        configs: the folder of configurations.
    """
    several = any(argument in ("-m", "--multirun") for argument in arguments)
    typed = []
    for argument in arguments:
        group = _NULL_GROUP.fullmatch(argument)
        found = None if argument.startswith("-") else _ASSIGNMENT.fullmatch(argument)
        if group is not None and (configs / group[1]).is_dir():
            typed += [f"~{group[1]}"] if group[2] is None else _without_group(group[1], group[2], hints())
        elif found is None or _PLAIN.fullmatch(found[3]):
            typed.append(argument)
        else:
            prefix, key, value = found.groups()
            kinds = list(_kinds(hints(), key.split(".")))
            if value.lower() == "null" and [kind_of(kind) for kind in kinds] == [Mapping]:
                # Hydra merges mappings: a given one can only be emptied by making it anew.
                typed += [f"~{key}", f"++{key}={{}}"]
            else:
                typed.append(f"{prefix}{key}={_quoted(key, value, kinds, hints(), several)}")
    return typed


def explained(error: HydraException, given: Sequence[str], known: Sequence[str]) -> str:
    """What is wrong with the arguments that were given, in one line, after an error of Hydra's.

    `known` are all settings' names.
    """
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        return f"{group}: found {option}, expected one of {', '.join(error.options or ())}"
    if isinstance(error, OverrideParseException):
        return f"found {error.override}, expected NAME=VALUE; lists are [A,B], mappings {{NAME: VALUE}}"
    unknown = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)
    if isinstance(error, ConfigCompositionException) and unknown is not None:
        experiment = next((one for one in given if re.match(r"\+?experiment=", one)), None)
        if experiment is not None and not any(unknown[1] in one for one in given):
            return f"{experiment.lstrip('+')}: found one that sets {unknown[1]}, expected an experiment of this command"
        nearest = re.search(r"Did you mean to override (\S+?)\?", text)
        return f"{unknown[1]}: no such setting; " + (
            suggestion(unknown[1], _beside(unknown[1], known)) if nearest is None else f"did you mean {nearest[1]}?"
        )
    return text.strip().split("\n")[0]


def _beside(name: str, known: Sequence[str]) -> list[str]:
    """The settings at the same place as one that there isn't; all at the top where there is no such place."""
    parent, dot, _ = name.rpartition(".")
    beside = [one for one in known if one.startswith(parent + dot) and "." not in one[len(parent + dot) :]]
    return beside or [one for one in known if "." not in one]


def _without_group(group: str, package: str, hints: Mapping[str, Any]) -> list[str]:
    parent, _, _ = package.rpartition(".")
    if parent and Mapping in map(kind_of, _kinds(hints, parent.split("."))):
        # One of several by name, such as the detectors: then it is not among them.
        return [f"~{package}"]
    return [f"~{group}@{package}", f"++{package}=null"]


def _kinds(hints: Mapping[str, Any], names: Sequence[str]) -> Iterator[Any]:
    """The types that a setting may have, through groups, mappings and alternatives; none where it isn't known."""
    first, *rest = names
    for one in alternatives(hints[first]) if first in hints else ():
        if not rest or one is Any:
            yield one
        elif dataclasses.is_dataclass(one) and isinstance(one, type):
            yield from _kinds(type_hints(one), rest)
        elif kind_of(one) is Mapping:
            yield from _kinds({rest[0]: get_args(one)[1]}, rest)


def _quoted(key: str, value: str, kinds: Sequence[Any], hints: Mapping[str, Any], several: bool) -> str:
    bare = [kind_of(kind) for kind in kinds]
    is_open = Any in bare
    if not (is_open or {str, Path, Literal} & {*bare}):
        return value
    try:
        parsed = OverridesParser.create().parse_override(f"{key}={value}")._value
    except HydraException:
        is_meant = False
    else:
        holds_several = any(kind in (Sequence, Mapping) or dataclasses.is_dataclass(kind) for kind in bare)
        is_meant = (
            several
            or isinstance(parsed, QuotedString)
            or (value.lower() == "null" and (is_open or type(None) in bare))
            or (value[:1] in ("[", "{") and (is_open or holds_several))
            or (isinstance(parsed, int | float) and (is_open or bool({int, float, bool} & {*bare})))
        )
    if is_meant:
        return value
    # An interpolation is one of a setting that there is, or of a resolver (`now:`, `oc.env:`).
    names = "|".join(map(re.escape, hints))
    literal = re.sub(rf"\$\{{(?!(?:{names})[.}}]|[\w.]+:)", r"\\${", value)
    return str(QuotedString(literal, Quote.single).with_quotes())
