"""The code that every stage of a study stands on, as digests: python tests/systems/stage_code.py [unchanged].

A stage is known by its settings, its parents and a version that its code declares by hand. When the code changes so
that the same settings give another result, the version has to be raised, or a study would keep the old result. Nothing
but attention sees to that; the digests of `stage_code.json` make sure that somebody looks. The command writes them
anew: refused where code changed under a version that did not, unless `unchanged` says that no result is another.
"""

import ast
import hashlib
import importlib
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Protocol

ROOT = Path(__file__).parents[2]
LISTING = Path(__file__).with_suffix(".json")
PACKAGE = "pseudolidar"
# What is drawn or printed is no stage's result.
_LEFT_OUT = ("viewing", "benchmarks")
_LEFT_OUT_NAMES = ("tables", "figures", "report", "pictures", "progress")


@dataclass(frozen=True)
class StageClass:
    """A class that makes stages.

    Attributes:
        name: module and class.
        versions: a task's `version`; of a model those of its steps, and constants that a `version` of its own names.
        modules: of the package that it stands on.
    """

    name: str
    versions: Mapping[str, int]
    modules: tuple[str, ...]


def stage_classes() -> list[StageClass]:
    """All classes of the package with settings, a run and a version of their own: tasks, and models of vertices."""
    found = []
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = _module_name(path)
        for node in _tree(name).body:
            if not isinstance(node, ast.ClassDef) or _is_left_out(name):
                continue
            one = getattr(importlib.import_module(name), node.name)
            if all(hasattr(one, member) for member in ("version", "settings", "run")) and Protocol not in one.__bases__:
                versions = _versions(one)
                # A step's task has its model's version, and a base class none.
                if versions:
                    found.append(StageClass(f"{name}.{node.name}", versions, tuple(sorted(_closure(name)))))
    return found


def module_digest(name: str) -> str:
    """A digest of a module's syntax tree without docstrings, the same in every version of Python."""
    return hashlib.sha256("\n".join(_lines(_tree(name))).encode()).hexdigest()[:16]


def listing() -> dict[str, dict[str, object]]:
    """What `stage_code.json` should hold now."""
    classes = stage_classes()
    modules = sorted({module for one in classes for module in one.modules})
    return {
        "versions": {one.name: dict(one.versions) for one in classes},
        "modules": {module: module_digest(module) for module in modules},
    }


def complaints() -> list[str]:
    """A line for every stage whose code changed since the digests were written, and whose version did not."""
    kept = json.loads(LISTING.read_text())
    lines = []
    for one in stage_classes():
        changed = [name for name in one.modules if kept["modules"].get(name) != module_digest(name)]
        if changed and kept["versions"].get(one.name, dict(one.versions)) == one.versions:
            more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
            lines.append(f"raise the version of {one.name}, or say that the result is unchanged: "
                         f"{', '.join(changed[:5])}{more} changed")  # fmt: skip
    return lines


def _versions(one: type) -> dict[str, int]:
    """What the version of a stage of this class can be."""
    versions = dict(getattr(one, "versions", {}))
    member = inspect.getattr_static(one, "version")
    if isinstance(member, int):
        return {"version": member}
    function = member.fget if isinstance(member, property) else member
    assert isinstance(function, FunctionType)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Name) and type(function.__globals__.get(node.id)) is int:
            versions[node.id] = function.__globals__[node.id]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            versions[str(node.value)] = node.value
    return versions


@cache
def _closure(name: str) -> frozenset[str]:
    """The module and all modules of the package that it imports, wherever in it; front doors are looked through."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += [other for other in _imports(one) if not _is_left_out(other)]
    return frozenset(seen)


@cache
def _imports(name: str) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(_tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}.")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE:
            assert node.module is not None and not node.level
            found |= {_home(node.module, alias.name) for alias in node.names}
    return frozenset(found)


def _home(module: str, name: str) -> str:
    """The module that defines what `from module import name` gives."""
    path = _path(module)
    if path.name != "__init__.py":
        return module
    if _exists(f"{module}.{name}"):
        return f"{module}.{name}"
    for node in _tree(module).body:
        if (
            isinstance(node, ast.ImportFrom)
            and node.module
            and name in {alias.asname or alias.name for alias in node.names}
        ):
            return _home(node.module, name)
    return module


def _is_left_out(name: str) -> bool:
    parts = name.split(".")
    return (parts[1:2] and parts[1] in _LEFT_OUT) or parts[-1] in _LEFT_OUT_NAMES


def _lines(node: ast.AST) -> Iterator[str]:
    """A node in words, without places, docstrings and what is empty: new versions of Python add empty fields."""
    yield type(node).__name__
    for field, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        if field == "body":
            values = [each for each in values if not _is_docstring(each)]
        elif isinstance(node, ast.JoinedStr):
            # Python 3.12 keeps empty pieces of text.
            values = [each for each in values if getattr(each, "value", None) != ""]
        for each in values:
            if isinstance(each, ast.AST):
                yield field
                yield from _lines(each)
            elif each is not None and field != "kind":
                yield f"{field} {each!r}"
    yield "end"


def _is_docstring(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@cache
def _tree(name: str) -> ast.Module:
    return ast.parse(_path(name).read_text())


def _path(name: str) -> Path:
    place = ROOT.joinpath(*name.split("."))
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _exists(name: str) -> bool:
    return _path(name).is_file()


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["unchanged"]):
        sys.exit(inspect.cleandoc(__doc__ or ""))
    if not sys.argv[1:] and LISTING.is_file() and (lines := complaints()):
        sys.exit("\n".join(lines))
    LISTING.write_text(json.dumps(listing(), indent=1) + "\n")
