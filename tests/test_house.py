"""The house: rooms from the ground floor up, as pseudolidar/README.md lists them; none imports from one above it."""

import ast
from pathlib import Path

import networkx as nx

PACKAGE = Path(__file__).parents[1] / "pseudolidar"

ROOMS = (
    "files",
    "weights",
    "statistics",
    "tables",
    "command_line",
    "kernels",
    "kitti",
    "ops",
    "training",
    "viewing",
    "systems",
    "synthetic",
    "stereo",
    "ensembles",
    "cloud",
    "evaluation",
    "detectors",
    "pipeline",
    "inference",
    "case_study",
    "illustrations",
    "updates",
    "commands",
    "benchmarks",
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def rooms_imported_by(path: Path) -> set[str]:
    """The rooms that a module imports from, wherever in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module] if node.module != "pseudolidar" else [f"pseudolidar.{n.name}" for n in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {module.split(".")[1] for module in modules if module.startswith("pseudolidar.")}
    return rooms


def test_no_room_imports_from_one_above_it() -> None:
    upwards = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.parent != PACKAGE or path.name in ("statistics.py", "tables.py"):
            floor = ROOMS.index(room_of(path))
            above = {room for room in rooms_imported_by(path) if ROOMS.index(room) > floor}
            upwards += [f"{path.relative_to(PACKAGE)} imports {room}" for room in sorted(above)]
    assert not upwards, "\n".join(upwards)


def test_no_module_imports_in_a_circle() -> None:
    modules = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    graph: nx.DiGraph = nx.DiGraph()
    for name, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                graph.add_edges_from((name, f"{node.module}.{alias.name}") for alias in node.names)
                graph.add_edge(name, node.module)
    assert not list(nx.simple_cycles(graph.subgraph(modules)))


def test_every_room_stands_in_the_map() -> None:
    rooms = {room_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == set(ROOMS)
    house = (PACKAGE / "README.md").read_text().split("\n## ")[1]
    listed = [line.split("`")[1] for line in house.splitlines() if line.startswith("| `")]
    assert listed == list(ROOMS)


def test_systems_know_no_kitti() -> None:
    known = set().union(*(rooms_imported_by(path) for path in (PACKAGE / "systems").rglob("*.py")))
    assert known <= {"files", "statistics", "training", "systems"}
