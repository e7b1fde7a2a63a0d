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
MAY_IMPORT = {
    "mssnet": set(),
    "filters": set(),
    "weights": set(),
    "weights.train": {"mssnet", "filters"},
    "weights.evaluate": {"mssnet", "filters", "stream"},
    "stream": {"mssnet", "filters", "weights"},
}
MAY_USE_AV = {
    *(f"stream/{name}.py" for name in ("convert", "encoders", "frame", "probe", "remux")),
    *(f"stream/{name}.py" for name in ("deinterlace", "hdr", "join", "orientation", "transcode")),
    *(f"stream/{name}.py" for name in ("beside", "bench", "decoding", "demux", "hardware")),
    *(f"stream/{name}.py" for name in ("ending", "formats", "identity", "opening")),
    *(f"stream/{name}.py" for name in ("sink", "source", "unfinished")),
    "stream/live/encode.py",
    *(f"stream/live/{name}.py" for name in ("camera", "coder", "convert", "reader", "session")),
    "stream/live/rtsp/output.py",
    *(f"stream/live/{name}.py" for name in ("hls", "mux", "publish", "record", "writer")),
    *(f"stream/doctor/{name}.py" for name in ("live", "program")),
    *(f"stream/pipes/{name}.py" for name in ("form", "sink", "source")),
    "stream/iterators/arrays.py",
    "stream/preview/broadcast.py",
    "stream/preview/pair.py",
    "stream/compare/clip.py",
    "stream/compare/film.py",
    "stream/verify/reading.py",
    "stream/verify/seen.py",
    "stream/verify/gather.py",
    "weights/evaluate/pairs.py",
    "weights/train/camera.py",
}
MAY_USE_THREADS = {
    "stream/pipeline.py",
    # The preview's process is looked after while the job itself tells nothing.
    "stream/cli/preview.py",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text())


def imports(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(("name", "tree"), list(modules()))
def test_layers(name: str, tree: ast.Module) -> None:
    dotted = name.removesuffix(".py").replace("/", ".")
    layer = max((known for known in MAY_IMPORT if dotted.startswith(known)), key=len)
    own = dotted.split(".")[0]
    for imported in imports(tree):
        first = imported.split(".")[0]
        if first in PACKAGES and first != own:
            assert first in MAY_IMPORT[layer], f"{name} imports {imported}"
        if first == "av":
            assert name in MAY_USE_AV, f"{name} imports av"
        if first == "threading":
            assert name in MAY_USE_THREADS, f"{name} imports threading"
    if not name.startswith("stream/cli/") and not name.startswith("weights/"):
        called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
        assert not called & {"print", "sys.exit", "exit", "os._exit", "logging.basicConfig"}, name


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


def test_the_command_starts_without_torch() -> None:
    """Help comes at once, and what torch reads when it is loaded can still be set."""
    code = "import sys, stream.cli; assert not {'torch', 'av', 'cv2'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_importing_does_nothing() -> None:
    """No GPU is touched, no logging configured and no thread started by importing."""
    code = (
        "import logging, threading, torch, stream, stream.job, mssnet, filters, weights;"
        "assert not torch.cuda.is_initialized();"
        "assert not logging.getLogger().handlers;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
