# SPDX-FileCopyrightText: 2026 brats_mri_incomplete_segmentation authors
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the rooms of ``scripts``, in one table; no cycle between rooms or between modules."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = ("modalities", "utils", "records")  # any room below them in the table may import these
# Room, and which it may import beside those of BASE. Lowest first: a row names rows above it only.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "modalities": (),  # subsets, their names, and how they are counted
    "utils": (),  # files, options
    "records": (),  # what lies beside weights and runs
    "data": (),  # files to datalist to case
    "metrics": (),  # computes only
    "drawing": (),
    "phantom": ("data",),
    "preparation": ("data",),  # from the scanner to the network, and back
    "plausibility": (),  # what images and results cannot be
    "transforms": ("data", "phantom", "preparation", "plausibility"),
    "networks": (),
    "losses": ("networks",),
    "inferers": ("networks",),
    "evaluation": ("data", "metrics"),  # tables, summaries, comparisons
    "engines": ("data", "inferers"),
    "handlers": (
        *("data", "metrics", "drawing", "plausibility", "transforms", "networks", "losses", "inferers", "evaluation"),
    ),
    "report": ("metrics", "drawing", "evaluation", "handlers"),
    "study": ("metrics", "drawing", "evaluation", "handlers"),
    "bundle": ("networks", "evaluation", "engines", "handlers"),
    "federated": ("data", "networks", "losses", "handlers", "bundle"),
    "segment": ("data", "preparation", "transforms", "engines", "handlers", "bundle"),
    "tools": (
        *("data", "metrics", "drawing", "phantom", "networks", "inferers", "evaluation", "engines", "handlers"),
        *("plausibility", "report", "study", "bundle", "segment", "preparation"),
    ),
}


def imports(package: Path) -> set[tuple[str, str]]:
    """Find who imports whom inside a package: pairs of dotted names of modules, wherever the import stands."""
    files = {_dotted(file, package): file for file in package.rglob("*.py")}
    pairs = set()
    for name, file in files.items():
        inside = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for imported in _imported(ast.parse(file.read_text(encoding="utf-8")), inside):
            while imported not in files and "." in imported:  # a name in a module: the module
                imported = imported.rpartition(".")[0]
            if imported in files and imported != name:
                pairs.add((name, imported))
    return {pair for pair in pairs if not pair[0].startswith(f"{pair[1]}.")}  # the package above is always loaded


def _dotted(file: Path, package: Path) -> str:
    parts = file.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, inside: str) -> Iterator[str]:
    """Name what a module imports; ``inside`` is the package that its dots start from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute("." * node.level + (node.module or ""), inside)
            yield from (f"{base}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
            "import_module",
            "__import__",
        ):
            if node.args and isinstance(node.args[0], ast.Constant):
                yield _absolute(str(node.args[0].value), inside)


def _absolute(name: str, inside: str) -> str:
    above = len(name) - len(name.lstrip("."))
    parts = inside.split(".")
    return ".".join([*parts[: len(parts) - above + 1], *filter(None, [name[above:]])]) if above else name


def room(module: str) -> str:
    """The folder of ``scripts`` that a module lies in, or the module itself."""
    return module.split(".")[1]


def between_rooms(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Which room imports which."""
    return {(room(one), room(other)) for one, other in pairs if room(one) != room(other)}


def cycle(pairs: Iterable[tuple[str, str]]) -> list[str] | None:
    """Find a cycle, if there is one."""
    graph: dict[str, set[str]] = {}
    for one, other in pairs:
        graph.setdefault(one, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def not_allowed(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """List imports that the table does not name."""
    return sorted(
        f"{one} imports {other}: `{room(one)}` may import {', '.join(allowed(room(one))) or 'no other room'}"
        for one, other in pairs
        if room(one) != room(other) and room(other) not in allowed(room(one))
    )


def allowed(name: str) -> tuple[str, ...]:
    """All that a room may import: what its row names, and those of ``BASE`` that stand above it."""
    rows = list(MAY_IMPORT)
    return (*(each for each in BASE if name not in BASE or rows.index(each) < rows.index(name)), *MAY_IMPORT[name])


@pytest.fixture(scope="module")
def found():
    pairs = imports(ROOT / "scripts")
    assert len(pairs) > 200, "imports are found at all"
    return pairs


def test_the_table_has_every_room_and_points_upwards_only():
    there = {
        path.stem for path in (ROOT / "scripts").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert there - {"__init__"} == set(MAY_IMPORT), "a new room needs a row, and a sentence in the documents"
    rows = list(MAY_IMPORT)
    for name, others in MAY_IMPORT.items():
        assert all(rows.index(other) < rows.index(name) for other in others), name


def test_no_room_imports_another_that_it_may_not(found):
    assert not_allowed(found) == []


def test_every_permission_is_used(found):
    used = between_rooms(found)
    unused = [(name, other) for name, others in MAY_IMPORT.items() for other in others if (name, other) not in used]
    assert unused == [], "what nobody needs is not allowed: take it out of the table"


def test_there_is_no_cycle_between_rooms_or_modules(found):
    assert cycle(between_rooms(found)) is None
    assert cycle(found) is None


def test_modules_of_scripts_import_each_other_by_dots():
    """MONAI Label loads the package anew for every bundle, under the same name."""
    for file in (ROOT / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert [name for name in names if name.split(".")[0] == "scripts"] == [], file


@pytest.fixture
def planted(tmp_path):
    """Copy of three rooms, to plant imports in."""

    def _planted(**texts: str) -> set[tuple[str, str]]:
        for name, text in {"__init__": "", "modalities": "", **texts}.items():
            file = tmp_path / "scripts" / f"{name.replace('__in__', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            file.write_text(text)
        return imports(tmp_path / "scripts")

    return _planted


@pytest.mark.parametrize(
    "text",
    [
        "from ..losses.total import Total",
        "from ..losses import total",
        "from .. import losses",
        "import scripts.losses.total",
        "from importlib import import_module\nx = import_module('..losses.total', __package__)",
        "import importlib\ndef late():\n    return importlib.import_module('scripts.losses.total')",
        "def late():\n    from ..losses.total import Total",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..losses.total import Total",
    ],
)
def test_an_import_against_the_table_is_found_in_every_form(planted, text):
    pairs = planted(losses__in__total="Total = 1", networks__in__base=text)
    assert between_rooms(pairs) == {("networks", "losses")}
    assert not_allowed(pairs)[0].startswith("scripts.networks.base imports scripts.losses")
    assert "`networks` may import modalities, utils, records" in not_allowed(pairs)[0]


def test_a_cycle_is_found_between_modules_and_between_rooms(planted):
    pairs = planted(
        networks__in__a="from importlib import import_module\nb = import_module('.b', __package__)",
        networks__in__b="from .a import x",
        data__in__c="from ..phantom.d import x",
        phantom__in__d="from ..data.e import x",
        data__in__e="",
    )
    inside = {pair for pair in pairs if room(pair[0]) == "networks"}
    assert set(cycle(inside)) == {"scripts.networks.a", "scripts.networks.b"}
    assert cycle(pairs - inside) is None, "no cycle of modules"
    assert set(cycle(between_rooms(pairs))) == {"data", "phantom"}
