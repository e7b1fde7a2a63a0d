"""What the program loads before it answers: PyTorch and its like take seconds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import make_clip

TERMINAL = {
    *("typer", "click", "rich", "annotated_doc", "markdown_it", "mdurl", "pygments", "shellingham"),
    *("typing_extensions", "platformdirs"),
    # Typer and Rich look for what is installed of these.
    *("attr", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
}
MEDIA = {"av", "cython_runtime", "numpy"}
OPTIONS = ("stream.cli", "stream.options", "stream.errors", "stream.limits", "stream.paths")
"""What the command line itself needs; its options' defaults and checks among it."""
OPTIONS_ALSO = ("stream.provenance", "filters.defaults")

RUN = """
import sys
before = {*sys.modules}
from stream.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *({*sys.modules} - before), file=sys.stderr)
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """The modules outside the standard library that a program in its own process loads."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    names = done.stderr.splitlines()[-1].split()
    assert names[0] == "loaded"
    return {
        name
        for name in names[1:]
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("_")
    }


def foreign(names: set[str]) -> set[str]:
    """The packages of others among modules."""
    return {name.partition(".")[0] for name in names} - {"stream", "filters", "mssnet", "weights"}


def own(names: set[str]) -> set[str]:
    return {name for name in names if name.partition(".")[0] not in foreign(names)}


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(
        name == each or name.startswith(f"{each}.") or each.startswith(f"{name}.")
        for each in packages
    )


def test_the_package_loads_nothing_but_itself() -> None:
    code = (
        "import sys; before = {*sys.modules}; import stream;"
        "print('loaded', *({*sys.modules} - before), file=sys.stderr)"
    )
    assert loaded(code) == {"stream"}


@pytest.mark.parametrize("package", ["filters", "weights"])
def test_packages_that_describe_load_no_torch(package: str) -> None:
    """Their names are there all the same."""
    code = (
        f"import sys; before = {{*sys.modules}}; import {package};"
        "print('loaded', *({*sys.modules} - before), file=sys.stderr)"
    )
    assert not foreign(loaded(code)) - {"platformdirs"}


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["run", "--help"]])
def test_words_of_the_command_load_options_alone(arguments: list[str]) -> None:
    names = loaded(RUN, *arguments)
    assert not foreign(names) - TERMINAL
    assert not [name for name in own(names) if not within(name, OPTIONS + OPTIONS_ALSO)]


def test_models_loads_no_torch() -> None:
    names = loaded(RUN, "models")
    assert not foreign(names) - TERMINAL
    allowed = (*OPTIONS, *OPTIONS_ALSO, "weights.store")
    assert not [name for name in own(names) if not within(name, allowed)]


@pytest.mark.parametrize("command", ["info", "verify"])
def test_looking_at_files_loads_what_decodes_alone(command: str, tmp_path: Path) -> None:
    clip = str(make_clip(tmp_path / "clip.mkv", frames=3))
    names = loaded(RUN, command, *([clip] if command == "info" else [clip, clip]))
    assert not foreign(names) - TERMINAL - MEDIA
    above = ("stream.stages", "stream.compute", "stream.files", "stream.live", "stream.ipc")
    assert not [name for name in own(names) if name.startswith((*above, "mssnet"))]
