"""The program and what it is made of: which versions there are, and which there ought to be."""

import platform
import sys
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING

from stream.doctor.checks.finding import Finding, attempt, reason

if TYPE_CHECKING:
    from packaging.requirements import Requirement

_NAME = "deblur-stream"
_MODULES = {
    "torch": "torch",
    "openvino": "openvino",
    "av": "av",
    "opencv-python-headless": "cv2",
    "numpy": "numpy",
    "kornia": "kornia",
}
"""The packages that have a line of their own, and what is imported of them."""


def look() -> list[Finding]:
    """Versions, whether they can be loaded, and whether they are within the program's bounds."""
    found = attempt(_NAME, _program)
    found += attempt("Python", _python)
    found += attempt("platform", lambda: Finding("platform", "ok", platform.platform()))
    found += attempt("packages", _packages)
    found += attempt("FFmpeg", _ffmpeg)
    return found


def _program() -> Finding:
    try:
        return Finding(_NAME, "ok", version(_NAME), facts={"version": version(_NAME)})
    except PackageNotFoundError:
        return Finding(_NAME, "note", "not installed", f"pip install {_NAME}, or make setup")


def _python() -> Finding:
    said = f"{platform.python_version()} ({platform.python_implementation()})"
    from packaging.specifiers import SpecifierSet

    try:
        bounds = metadata(_NAME)["Requires-Python"] or ""
    except PackageNotFoundError:
        bounds = ""
    if not SpecifierSet(bounds).contains(platform.python_version(), prereleases=True):
        return Finding("Python", "note", f"{said}, but {bounds} is needed", "use such a Python")
    in_venv = sys.prefix != sys.base_prefix
    return Finding("Python", "ok", said + (", in a virtual environment" if in_venv else ""))


def _packages() -> list[Finding]:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires(_NAME) or []]
    except PackageNotFoundError:
        wanted = [Requirement(name) for name in _MODULES]
    here = [each for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    named = {each.name: each for each in here if each.name in _MODULES}
    found = []
    for name in _MODULES:
        if name in named:
            found += attempt(name, partial(_package, named[name]))
    quiet = []
    for each in here:
        if each.name not in _MODULES:
            one = attempt(each.name, partial(_package, each))
            found += [finding for finding in one if finding.state != "ok"]
            quiet += [f"{each.name} {finding.said}" for finding in one if finding.state == "ok"]
    return [*found, Finding("others", "ok", ", ".join(quiet))] if quiet else found


def _package(wanted: "Requirement") -> Finding:
    name, todo = wanted.name, f"pip install '{wanted.name}{wanted.specifier}'"
    try:
        there = version(name)
    except PackageNotFoundError:
        return Finding(name, "missing", f"{wanted.specifier} is needed", todo)
    if name in _MODULES:
        try:
            module = import_module(_MODULES[name])
            there = getattr(module, "__version__", there) if name == "torch" else there
        except Exception as error:
            return Finding(name, "failed", f"{there} cannot be loaded: {reason(error)}", todo)
    facts = {"version": there}
    if not wanted.specifier.contains(there, prereleases=True):
        said = f"{there} was not tried with this program ({wanted.specifier} was)"
        return Finding(name, "note", said, todo, facts)
    return Finding(name, "ok", there, facts=facts)


def _ffmpeg() -> Finding:
    import av

    # The version of FFmpeg is not in every build of PyAV; its libraries' versions are.
    release = str(getattr(av, "ffmpeg_version_info", "") or "unknown")
    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return Finding(
        "FFmpeg", "ok", f"{release} (libavcodec {codec}), inside of av", facts={"version": release}
    )
