"""Settings as a configuration has them become what a function's type hints say, or an error names the setting."""

import dataclasses
import difflib
import functools
import inspect
import pydoc
import types
import typing
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, Unpack, get_args, get_origin

from pseudolidar.files import InputError

TARGET = "_target_"
"""Hydra's key, in a mapping, for the class or function that is called with the other entries."""

_WORDS: dict[Any, str] = {
    int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path", type(None): "null",
    Mapping: "a mapping {NAME: VALUE}", Callable: "an option of this group",
}  # fmt: skip


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
    for key in settings:
        if key not in hints:
            raise InputError(f"{_joined(name, key)}: no such setting; {suggestion(key, hints)}")
    parameters = inspect.signature(function).parameters
    for key in hints.keys() - settings.keys():
        if key not in later and (key not in parameters or parameters[key].default is inspect.Parameter.empty):
            raise InputError(f"{_joined(name, key)}: found nothing, expected {described(hints[key])}")
    return {key: conform(value, hints[key], _joined(name, key)) for key, value in settings.items()}


def type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Hints by argument of a function, a class or a dataclass; those of `**name: Unpack[...]` among them."""
    is_plain_class = inspect.isclass(function) and not dataclasses.is_dataclass(function)
    hints = typing.get_type_hints(function.__init__ if is_plain_class else function)
    taken: dict[str, Any] = {}
    for name in inspect.signature(function).parameters:
        if get_origin(hints.get(name)) is Unpack:
            taken |= typing.get_type_hints(get_args(hints[name])[0])
        else:
            taken[name] = hints.get(name, Any)
    return taken


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, or what there is."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"


def alternatives(hint: Any) -> Iterator[Any]:
    """The types that a union allows, or the one that is none."""
    if get_origin(hint) in (Union, types.UnionType):
        for one in get_args(hint):
            yield from alternatives(one)
    else:
        yield hint


def kind_of(hint: Any) -> Any:
    """The type itself, without what is in brackets; lists, tuples and sequences are `Sequence`, mappings `Mapping`."""
    kind = get_origin(hint) or hint
    if kind in (list, tuple, Sequence):
        return Sequence
    return Mapping if kind in (dict, Mapping) else kind


def conform(value: Any, hint: Any, name: str) -> Any:
    """The value as the hint wants it: text becomes a `Path`, a list a tuple, a mapping a dataclass.

    Raises:
        MismatchError: it can't be that.
        InputError: something inside of it can't be made.
    """
    hints = list(alternatives(hint))
    if len(hints) > 1:
        return _one_of(value, hints, name)
    if hint is Any or isinstance(hint, typing.TypeVar):
        hint = dict[str, Any] if isinstance(value, Mapping) else list[Any] if isinstance(value, list) else object
    kind = kind_of(hint)
    if kind is Callable:
        return _made(value, name, partial=True) if isinstance(value, Mapping) else value
    if isinstance(value, Mapping) and TARGET in value:
        made = _made(value, name)
        if inspect.isclass(kind) and kind is not Mapping and not isinstance(made, kind):
            raise _mismatch(type(made).__name__, hint, name)
        return made
    if kind is Sequence:
        return _listed(value, hint, name)
    if kind is Mapping and isinstance(value, Mapping):
        _, of_values = get_args(hint) or (Any, Any)
        return {key: conform(one, of_values, _joined(name, str(key))) for key, one in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return kind(**arguments_of(kind, value, name))
    if kind is Path and isinstance(value, str) and value:
        return Path(value)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int and is_number and value == value // 1:
        return int(value)
    if kind is Literal:
        good = value in get_args(hint)
    elif kind in (int, float):
        good = kind is float and is_number
    else:
        good = not inspect.isclass(kind) or isinstance(value, kind)
    if not good:
        raise _mismatch(value, hint, name)
    return value


def described(hint: Any) -> str:
    """A type in words, for a user."""
    kind, arguments = kind_of(hint), get_args(hint)
    if len(hints := list(alternatives(hint))) > 1:
        return " or ".join(dict.fromkeys(map(described, hints)))
    if kind is Literal:
        return " or ".join(map(str, arguments))
    if kind is Sequence:
        return f"a list of {len(arguments)} values" if _is_fixed(hint) else "a list"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))


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


def _is_fixed(hint: Any) -> bool:
    """Whether it is a tuple of so many values."""
    return get_origin(hint) is tuple and ... not in get_args(hint)


def _listed(value: Any, hint: Any, name: str) -> Any:
    arguments = get_args(hint) or (Any,)
    if not isinstance(value, list | tuple) or (_is_fixed(hint) and len(value) != len(arguments)):
        raise _mismatch(value, hint, name)
    inner = arguments if _is_fixed(hint) else arguments[:1] * len(value)
    items = [conform(one, kind, f"{name}[{place}]") for place, (one, kind) in enumerate(zip(value, inner, strict=True))]
    return tuple(items) if get_origin(hint) is tuple else items


def _made(value: Mapping[str, Any], name: str, partial: bool = False) -> Any:
    target, settings = located(str(value.get(TARGET)), name), {key: one for key, one in value.items() if key != TARGET}
    if partial:
        return functools.partial(target, **arguments_of(target, settings, name, later=type_hints(target)))
    return target(**arguments_of(target, settings, name))


def located(path: str, name: str) -> Callable[..., Any]:
    """The class or function of a dotted path, such as pseudolidar.stereo.ObjectPairs.from_folder.

    Raises:
        InputError: there is none; names the setting `name`.
    """
    found = pydoc.locate(path)
    if not callable(found):
        raise InputError(f"{_joined(name, TARGET)}: found {path}, expected the path of a class or a function")
    return found


def _mismatch(value: Any, hint: Any, name: str) -> MismatchError:
    found = "null" if value is None else repr(value)
    return MismatchError(f"{name}: found {found}, expected {described(hint)}")


def _joined(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key
