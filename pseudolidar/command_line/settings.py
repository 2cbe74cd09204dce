"""Settings as a configuration has them become what a function's type hints say, or an error names the setting."""

import dataclasses
import difflib
import functools
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pseudolidar.files import InputError

TARGET = "_target_"
"""Hydra's key, in a mapping, for the class or function that is called with the other entries."""

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}


class MismatchError(InputError):
    """A value of another type than its setting has."""


def arguments_of(
    function: Callable[..., Any], settings: Mapping[str, Any], name: str = "", later: Container[str] = ()
) -> dict[str, Any]:
    """Keyword arguments for a function, a class or a dataclass, each of the type that its hint says.

    Mappings with `_target_` are made into objects first, those for a hint `Callable[..., X]` into a function that takes
    the arguments that are left.

    Args:
        function: whose hints count.
        settings: plain data by argument.
        name: where the settings stand, "training.crops" for instance; for errors.
        later: arguments that it is given later.

    Raises:
        InputError: a setting that the function doesn't take, or of another type, or none where it needs one; names it,
            what was found and expected.
    """
    hints = type_hints(function)
    takes = inspect.signature(function).parameters
    arguments = {}
    for key, value in settings.items():
        if key not in takes:
            raise InputError(f"{_joined(name, key)}: no such setting; {suggestion(key, takes)}")
        arguments[key] = conform(value, hints.get(key, Any), _joined(name, key))
    for key, parameter in takes.items():
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        if needed and key not in arguments and key not in later:
            raise InputError(f"{_joined(name, key)}: found nothing, expected {described(hints.get(key, Any))}")
    return arguments


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Hints by argument of a function, a class or a dataclass."""
    is_plain_class = inspect.isclass(function) and not dataclasses.is_dataclass(function)
    return typing.get_type_hints(function.__init__ if is_plain_class else function)


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or what there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def conform(value: Any, hint: Any, name: str) -> Any:
    """The value as the hint wants it: text becomes a `Path`, a list a tuple, a mapping a dataclass.

    Raises:
        MismatchError: it can't be that.
        InputError: something inside of it can't be made.
    """
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(hint), name)
    if _CALLABLE in (origin, hint):
        return _object(value, name, partial=True) if isinstance(value, Mapping) else value
    if isinstance(value, Mapping) and TARGET in value:
        made = _object(value, name)
        if inspect.isclass(hint) and not isinstance(made, hint):
            raise _mismatch(type(made).__name__, hint, name)
        return made
    if hint is Any or isinstance(hint, typing.TypeVar):
        return _plain(value, name)
    if hint in (None, type(None)):
        good = value is None
    elif origin is Literal:
        good = value in get_args(hint)
    elif hint is bool:
        good = isinstance(value, bool)
    elif hint is int:
        good = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
        value = int(value) if good else value
    elif hint is float:
        good = isinstance(value, int | float) and not isinstance(value, bool)
    elif hint is Path:
        good = isinstance(value, Path) or (isinstance(value, str) and bool(value))
        value = Path(value) if good else value
    elif origin in (list, tuple, Sequence) or hint in (list, tuple, Sequence):
        return _listed(value, hint, name)
    elif origin in (dict, Mapping) or hint in (dict, Mapping):
        return _mapped(value, hint, name)
    elif dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        made = typing.cast(Callable[..., Any], hint)
        return made(**arguments_of(made, value, name))
    else:
        good = not inspect.isclass(hint) or isinstance(value, hint)
    if not good:
        raise _mismatch(value, hint, name)
    return value


_CALLABLE = get_origin(Callable[..., Any])


def described(hint: Any) -> str:
    """A type in words, for a user."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(one) for one in arguments))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (list, tuple, Sequence) or hint in (list, tuple, Sequence):
        fixed = origin is tuple and ... not in arguments
        return f"a list of {len(arguments)} values" if fixed else "a list"
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return "a mapping {NAME: VALUE}"
    if hint in (None, type(None)):
        return "null"
    if _CALLABLE in (origin, hint):
        return "an option of this group"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _one_of(value: Any, hints: Sequence[Any], name: str) -> Any:
    inside = None
    for hint in hints:
        try:
            return conform(value, hint, name)
        except MismatchError as error:
            # What is wrong inside of a list or a group says more than that it isn't text or null either.
            if not str(error).startswith(f"{name}: "):
                inside = error
    raise inside or _mismatch(value, Union[tuple(hints)], name)  # noqa: UP007


def _listed(value: Any, hint: Any, name: str) -> Any:
    arguments = get_args(hint)
    fixed = get_origin(hint) is tuple and ... not in arguments
    if not isinstance(value, list | tuple) or (fixed and len(value) != len(arguments)):
        raise _mismatch(value, hint, name)
    inner = arguments if fixed else [arguments[0] if arguments else Any] * len(value)
    items = [conform(one, kind, f"{name}[{place}]") for place, (one, kind) in enumerate(zip(value, inner, strict=True))]
    return tuple(items) if tuple in (get_origin(hint), hint) else items


def _mapped(value: Any, hint: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        raise _mismatch(value, hint, name)
    _, inner = get_args(hint) or (Any, Any)
    return {key: conform(one, inner, _joined(name, str(key))) for key, one in value.items()}


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return _mapped(value, dict, name)
    return _listed(value, list, name) if isinstance(value, list) else value


def _object(value: Mapping[str, Any], name: str, partial: bool = False) -> Any:
    path, settings = str(value.get(TARGET)), {key: one for key, one in value.items() if key != TARGET}
    target = located(path, name)
    if partial:
        later = inspect.signature(target).parameters
        return functools.partial(target, **arguments_of(target, settings, name, later))
    return target(**arguments_of(target, settings, name))


def located(path: str, name: str) -> Callable[..., Any]:
    """What a dotted path leads to: pseudolidar.stereo.ObjectPairs.from_folder."""
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        if callable(found):
            return typing.cast(Callable[..., Any], found)
        break
    raise InputError(f"{_joined(name, TARGET)}: found {path}, expected the path of a class or a function")


def _mismatch(value: Any, hint: Any, name: str) -> MismatchError:
    found = "null" if value is None else repr(value)
    return MismatchError(f"{name}: found {found}, expected {described(hint)}")


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
