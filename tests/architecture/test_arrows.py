"""Imports point downwards only, and each room keeps to the libraries that it may use."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top down; rooms on one line never import each other.
LINES = (
    ("wsgi",),
    ("api", "cli", "dashboard"),
    ("readout", "bootstrap"),
    ("explorer",),
    ("services",),
    ("storage", "warehouse"),
    ("database",),
    ("domain",),
    ("assignment", "stats"),
)
FOR_EVERYONE = {"errors", "settings", ""}
CORE = {"assignment", "stats"}
RANK = {room: line for line, rooms in enumerate(LINES) for room in rooms}

MAY_USE = {
    "assignment": set(),
    "stats": {"numpy", "scipy"},
    "domain": {"msgspec", "numpy"},
    "errors": set(),
    "settings": set(),
}
MAY_NOT_USE = {
    "services": {"flask", "flask_smorest", "marshmallow", "sqlalchemy"},
    "storage": {"flask", "flask_smorest", "marshmallow", "scipy", "ibis", "duckdb", "pyiceberg"},
    "warehouse": {"flask", "flask_smorest", "marshmallow", "scipy"},
    "readout": {"flask", "flask_smorest", "sqlalchemy"},
    "cli": {"flask", "flask_smorest", "marshmallow", "sqlalchemy"},
}


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        relative = path.relative_to(ROOT)
        if "migrations" in relative.parts:
            continue
        name = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(name: str, tree: ast.Module, *, is_package: bool) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = name.split(".")[: len(name.split(".")) - node.level + (1 if is_package else 0)]
                module = ".".join([*base, *([node.module] if node.module else [])])
            else:
                module = node.module or ""
            yield module, node.lineno
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@cache
def all_imports(package: str) -> Sequence[tuple[str, str, int]]:
    found = []
    for name, tree in modules(package):
        is_package = (ROOT / Path(*name.split(".")) / "__init__.py").is_file()
        found += [(name, imported, line) for imported, line in imports(name, tree, is_package=is_package)]
    return found


def test_imports_inside_the_server_point_downwards() -> None:
    broken = []
    for name, imported, line in all_imports("abplatform"):
        here, there = room(name), room(imported)
        if not imported.startswith("abplatform.") or here == there or there in FOR_EVERYONE or there not in RANK:
            continue
        if here in FOR_EVERYONE or RANK[there] <= RANK[here]:
            broken.append(f"{name}:{line} imports {imported}: {here or 'the package'} may not know {there}")
    assert not broken, "\n".join(broken)


def test_every_room_is_drawn() -> None:
    rooms = {room(name) for name, _ in modules("abplatform")}
    assert rooms - FOR_EVERYONE <= set(RANK), "a room that no line of the drawing names"


@pytest.mark.parametrize("here", sorted(MAY_USE))
def test_core_rooms_use_only_the_libraries_that_are_named(here: str) -> None:
    foreign = {
        f"{name}:{line} {imported}"
        for name, imported, line in all_imports("abplatform")
        if room(name) == here and imported.split(".")[0] not in sys.stdlib_module_names | MAY_USE[here] | {"abplatform"}
    }
    assert not foreign


@pytest.mark.parametrize("here", sorted(MAY_NOT_USE))
def test_rooms_keep_away_from_libraries_of_other_rooms(here: str) -> None:
    foreign = {
        f"{name}:{line} {imported}"
        for name, imported, line in all_imports("abplatform")
        if room(name) == here and imported.split(".")[0] in MAY_NOT_USE[here]
    }
    assert not foreign


def test_the_evaluator_imports_itself_only_relatively() -> None:
    absolute = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "abplatform" / "assignment").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").startswith("abplatform"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("abplatform") for alias in node.names))
    ]
    assert not absolute


# Modules of the SDK for one host each, which has what they import; nothing else in the SDK loads them.
OF_A_HOST = {
    "flask.py": {"flask"},
    "openfeature.py": {"openfeature"},
    "openfeature_flags.py": {"openfeature"},
    "opentelemetry.py": {"openfeature", "opentelemetry"},
    "pytest_plugin.py": {"pytest"},
}


def test_the_sdk_knows_urllib3_and_nothing_of_the_server() -> None:
    allowed = sys.stdlib_module_names | {"urllib3", "abplatform_sdk"}
    foreign = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "sdk" / "abplatform_sdk").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
        if module.split(".")[0] not in allowed | OF_A_HOST.get(path.name, set())
    }
    assert not foreign


def test_the_evaluator_in_the_sdk_is_a_tracked_link_to_the_one_definition() -> None:
    link = ROOT / "sdk" / "abplatform_sdk" / "_assignment"
    assert link.is_symlink()
    assert str(link.readlink()) == "../../abplatform/assignment"


def test_no_module_has_a_name_that_says_nothing() -> None:
    empty_names = {"utils", "util", "helpers", "helper", "common", "misc"}
    named = {
        path
        for folder in ("abplatform", "sdk", "tests", "migrations", "benchmarks", "dev")
        for path in (ROOT / folder).rglob("*.py")
        if path.stem in empty_names
    }
    assert not named
