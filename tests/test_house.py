"""The house stays in order: who imports whom, what is public, who prints."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("stream", "mssnet", "filters", "weights")
FLOORS = (
    ("filters", "mssnet"),
    ("weights",),
    # The flat modules of the package; its __init__ is the public interface, on the highest floor.
    ("stream",),
    ("stream.options",),
    ("stream.web", "stream.ipc"),
    ("stream.media",),
    ("stream.telemetry",),
    ("stream.input.container",),
    ("stream.input",),
    ("stream.compute",),
    ("stream.stages",),
    ("stream.output", "stream.verify", "weights.evaluate"),
    ("stream.compare.measure", "weights.train"),
    ("stream.compare",),
    ("stream.files",),
    ("stream.cluster",),
    ("stream.live.input", "stream.live.restore", "stream.live.encoding", "stream.live.rtsp"),
    ("stream.live.output.rtsp",),
    ("stream.live.output",),
    ("stream.live",),
    ("stream.preview",),
    ("stream.pipes", "stream.iterators", "stream.serve", "stream.vapoursynth"),
    ("stream.images",),
    ("stream.doctor.checks",),
    ("stream.doctor",),
    ("stream.cli.terminal",),
    ("stream.cli.options",),
    ("stream.cli.jobs",),
    ("stream.cli",),
)
"""Folders, lowest first: each may import those on lower floors, and no equal."""
SHARED = {"stream.web.page"}
"""Assets of pages, imported by name."""
MAY_USE_AV = {
    "stream.colors",
    "stream.compare",
    "stream.doctor",
    "stream.frame",
    "stream.images",
    "stream.input",
    "stream.ipc.convert",
    "stream.iterators.arrays",
    "stream.pipes",
    "stream.live",
    "stream.media",
    "stream.output",
    "stream.preview",
    "stream.verify",
    "stream.files.bench",
    "weights.evaluate.pairs",
    "weights.train.camera",
}
MAY_USE_THREADS = {
    "stream.pipeline",
    # The preview's process is looked after while the job itself tells nothing.
    "stream.cli.jobs.preview",
}
MOST_FLAT, MOST_MODULES, MOST_LENGTH = 16, 12, 400
MOST_LINES, MOST_PARAMETERS, MOST_ATTRIBUTES = 60, 8, 15
"""Of a function, without its parameters where it may have more of them; of a class."""
COMMANDS = ("stream.cli", "weights.evaluate.__main__", "weights.train.__main__")
"""Functions in them that take more parameters than others are commands, whose options those are."""
WIDE = {
    "stream.iterators.files.run": "its keywords are the public interface",
    "stream.iterators.restore.restore": "its keywords are the public interface",
    "stream.iterators.live.open_live": "its keywords are the public interface",
    "stream.vapoursynth.deblur": "its keywords are the public interface",
}
LARGE = {
    "stream.options.settings.Settings": "a field is an option",
    "stream.live.description.Description": "a field is an option",
    "stream.serve.options.Options": "a field is an option",
    "stream.ipc.stats.ProcessFigures": "a field is a figure",
    "stream.serve.jobs.Job": "a field is a column",
    "stream.verify.facts.Picture": "a field is a thing compared",
    "stream.verify.facts.Track": "a field is a thing compared",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            dotted = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            yield dotted.removesuffix(".__init__"), ast.parse(file.read_text())


MODULES = dict(modules())


def imports(tree: ast.Module) -> set[str]:
    """The modules that one imports anywhere, in functions and for types as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
    return found


def folder(module: str) -> str:
    """The folder that a module lies in: its own one, of a package's `__init__`."""
    if (ROOT / module.replace(".", "/")).is_dir():
        return module
    return module.rpartition(".")[0]


def floor(module: str) -> int:
    if module in ("stream", "stream.__main__"):
        return len(FLOORS)
    rooms = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    room = folder(module)
    while room not in rooms:
        room = room.rpartition(".")[0]
    return rooms[room]


def among(module: str, names: set[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in names)


@pytest.mark.parametrize("name", MODULES)
def test_folders_import_downwards_only(name: str) -> None:
    tree = MODULES[name]
    for imported in imports(tree):
        if imported in MODULES and folder(imported) != folder(name):
            # The command is written against the public interface.
            public = imported == "stream" and name.startswith("stream.cli")
            lower = floor(imported) < floor(name) or imported in SHARED or public
            assert lower, f"{name} imports {imported}"
        if imported.split(".")[0] == "av":
            assert among(name, MAY_USE_AV), f"{name} imports av"
        if imported == "threading":
            assert name in MAY_USE_THREADS, f"{name} imports threading"
    if not name.startswith(("stream.cli", "weights")):
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not called & {"print", "sys.exit", "exit", "os._exit", "logging.basicConfig"}, name


def test_modules_of_a_folder_do_not_import_each_other_in_circles() -> None:
    graph = {
        name: {each for each in imports(tree) if each in MODULES} - {name, "stream"}
        for name, tree in MODULES.items()
    }
    while leaves := {name for name, needs in graph.items() if not needs}:
        graph = {name: needs - leaves for name, needs in graph.items() if name not in leaves}
    assert not graph, "these import each other"


def test_no_folder_and_no_module_is_full() -> None:
    for room in {folder(name) for name in MODULES if name.startswith("stream")}:
        count = sum(folder(name) == room and name != room for name in MODULES)
        assert count <= (MOST_FLAT if room == "stream" else MOST_MODULES), room
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            assert len(file.read_text().splitlines()) <= MOST_LENGTH, file


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many there are, without `self` and `cls`."""
    named = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    return sum(each.arg not in ("self", "cls") for each in named)


def attributes(owner: ast.ClassDef) -> set[str]:
    """The fields of a class, and what its methods set."""
    found = {
        each.target.id
        for each in owner.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    for node in ast.walk(owner):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and ast.unparse(node.value) == "self"
        ):
            found.add(node.attr)
    return found


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_classes_are_of_a_size_to_be_read(name: str) -> None:
    for function in functions(MODULES[name]):
        many = parameters(function) > MOST_PARAMETERS
        wide = name.startswith(COMMANDS) or f"{name}.{function.name}" in WIDE
        begin = function.body[0].lineno if many and wide else function.lineno
        assert (function.end_lineno or 0) - begin < MOST_LINES, f"{function.name} is long"
        assert not many or wide, function.name
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ClassDef) and f"{name}.{node.name}" not in LARGE:
            assert len(attributes(node)) <= MOST_ATTRIBUTES, node.name


def test_what_is_said_to_be_larger_than_usual_is() -> None:
    wide = {
        f"{name}.{each.name}"
        for name, tree in MODULES.items()
        for each in functions(tree)
        if parameters(each) > MOST_PARAMETERS and not name.startswith(COMMANDS)
    }
    assert wide == WIDE.keys()
    large = {
        f"{name}.{each.name}"
        for name, tree in MODULES.items()
        for each in ast.walk(tree)
        if isinstance(each, ast.ClassDef) and len(attributes(each)) > MOST_ATTRIBUTES
    }
    assert large == LARGE.keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_public_is_there(package: str) -> None:
    module = importlib.import_module(package)
    tree = ast.parse((ROOT / package / "__init__.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package
        for alias in node.names
    }
    assert set(module.__all__) == imported
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value):
            assert value.__doc__, f"{package}.{name} has no docstring"


def test_importing_does_nothing() -> None:
    """No GPU is touched, no logging configured and no thread started by importing."""
    code = (
        "import logging, threading, torch, stream, stream.files.job, mssnet, filters, weights;"
        "assert not torch.cuda.is_initialized();"
        "assert not logging.getLogger().handlers;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
