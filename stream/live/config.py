"""The file that describes several cameras, in TOML.

[defaults]
max_latency = 200

[cameras.yard]
source = "env:YARD"
outputs = ["serve:8554/yard", "record:yard"]
strength = 0.8
"""

import re
import tomllib
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from stream.errors import DeblurError, NoInputError, SinkError, UsageError
from stream.live.description import Description
from stream.live.output.null import Null
from stream.live.output.serve import Serve
from stream.live.output.targets import place as place_of
from stream.live.rtsp.mounts import SHARES
from stream.secrets import Secrets, hidden

_MOST_BYTES = 1 << 20
_TABLES = ("cameras", "defaults")
_NAME = re.compile(r"[\w.-]{1,64}")
_TYPES = {
    name: kind
    for name, kind in get_type_hints(Description).items()
    if name in {each.name for each in fields(Description)}
}
_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True)
class Config:
    """The cameras of a file, by name, in its order."""

    cameras: Mapping[str, Description]


def read(path: Path) -> Config:
    """Read the file. Raises `UsageError` with the number of the line that is wrong."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; name a file of cameras") from None
    if len(text) > _MOST_BYTES:
        raise UsageError(f"{path} has more than {_MOST_BYTES} bytes; name a file of cameras")
    try:
        return parse(text.decode(), str(path))
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8") from None


def parse(text: str, name: str = "cameras.toml") -> Config:
    """Read the text of such a file, called `name` in what is said of it. Raises `UsageError`."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", str(error))
        line = place[1] if place and place[1] else str(text.count("\n") + 1)
        said = str(error)[: place.start()] if place else str(error)
        raise UsageError(f"{name}:{line}: {said}") from None
    except RecursionError:
        raise UsageError(f"{name}: brackets are nested too deeply in it") from None
    except ValueError as error:  # such as a number with too many digits
        raise UsageError(f"{name}: {error}") from None
    return _Reader(text, name).read(found)


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self._lines = text.splitlines()
        self._name = name

    def read(self, found: Mapping[str, Any]) -> Config:
        for key in found:
            if key not in _TABLES:
                raise self._wrong((key,), f"unknown {key}{_meant(key, _TABLES)}")
        defaults = found.get("defaults", {})
        if not isinstance(defaults, dict):
            raise self._wrong(("defaults",), "defaults is a table: [defaults]")
        cameras = found.get("cameras", {})
        if not isinstance(cameras, dict) or not cameras:
            raise UsageError(
                f"{self._name}: there is no camera; write a table [cameras.NAME] with its source"
            )
        usual = {key: self._value(("defaults",), key, value) for key, value in defaults.items()}
        if "source" in usual or "outputs" in usual:
            raise self._wrong(("defaults",), "source and outputs belong to a camera")
        described: dict[str, Description] = {}
        taken: dict[tuple[object, ...], str] = {}
        for name, options in cameras.items():
            table = ("cameras", name)
            if not _NAME.fullmatch(name):
                raise self._wrong(table, f"{name!r} is no name; use letters, digits, _, - and .")
            if not isinstance(options, dict):
                raise self._wrong(table, f"a camera is a table: [cameras.{name}]")
            own = {key: self._value(table, key, value) for key, value in options.items()}
            if "source" not in own:
                raise self._wrong(table, f"{name} has no source")
            own.setdefault("outputs", (f"serve:8554/{name}",))
            described[name] = self._checked(
                table, Description(**{**usual, **own}), own, usual, taken
            )
        return Config(described)

    def _checked(
        self,
        table: tuple[str, ...],
        description: Description,
        own: Mapping[str, object],
        defaults: Mapping[str, object],
        taken: dict[tuple[object, ...], str],
    ) -> Description:
        """Raise `UsageError` where it makes no sense, alone or beside those before it.

        What this machine has not, such as a folder or a variable, is no mistake of the file: that
        camera alone will fail. `own` are the options that stand in the table itself, `defaults`
        those for all.
        """
        name = table[-1]
        try:
            _ = description.addresses
        except UsageError:
            return description
        try:
            _ = description.settings
            _ = description.camera
            targets = description.targets
        except (NoInputError, SinkError):
            return description
        except (DeblurError, OSError, ValueError) as error:
            said = _told(error, description)
            key = _key_in(said)
            usual = key in defaults and key not in own
            raise self._wrong(("defaults",) if usual else table, said, key) from None
        for target in targets:
            if isinstance(target, Null):
                continue
            place = place_of(target)
            said = f"{target.name} is an output of {{}} as well"
            if isinstance(target, Serve) and SHARES:
                for (kind, host, *rest), other in taken.items():
                    if kind == "serve" and rest[0] == target.port and host != target.host:
                        said = f"port {target.port} is served at {host} by {other}; use that host"
                        raise self._wrong(table, said, "outputs")
            elif isinstance(target, Serve):
                place = "port", target.port
                said = f"port {target.port} serves {{}} as well; each output needs its own"
            if place in taken:
                raise self._wrong(table, said.format(taken[place]), "outputs")
            taken[place] = name
        return description

    def _value(self, table: tuple[str, ...], key: str, value: object) -> Any:
        if key not in _TYPES:
            raise self._wrong(table, f"unknown {key}{_meant(key, _TYPES)}", key)
        kind = _TYPES[key]
        if get_origin(kind) is types.UnionType:
            kind = next(each for each in get_args(kind) if each is not type(None))
        if get_origin(kind) is tuple:
            every = [value] if isinstance(value, str) else value
            if isinstance(every, list) and every and all(isinstance(each, str) for each in every):
                return tuple(every)
            raise self._wrong(table, f"{key} is a list of texts", key)
        if key in ("upscale", "keep") and type(value) in (int, float):
            return f"{value:g}"
        if kind is float and type(value) is int and abs(value) < 1 << 53:
            return float(value)
        if type(value) is not kind:
            raise self._wrong(table, f"{key} is {_WORDS[kind]}, got {_shown(value)}", key)
        return value

    def _wrong(self, table: tuple[str, ...], said: str, key: str | None = None) -> UsageError:
        line = self._line(table, key)
        return UsageError(f"{self._name}:{line}: {said}" if line else f"{self._name}: {said}")

    def _line(self, table: tuple[str, ...], key: str | None) -> int | None:
        """The line of a key in a table, or of the table; tomllib does not tell."""
        found = inside = None
        for number, line in enumerate(self._lines, 1):
            if parts := _header(line):
                inside = parts
                if parts == table or (found is None and parts[: len(table)] == table):
                    found = number
            elif key is not None and inside == table:
                if re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                    return number
            elif inside is None and re.match(rf"\s*{re.escape(table[0])}\b", line):
                found = found or number
        return found


def _header(line: str) -> tuple[str, ...]:
    """The names in the header of a table; none where the line is no such header."""
    found: object = None
    if line.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            found = tomllib.loads(line)
    names = []
    while isinstance(found, dict) and found:
        name, found = next(iter(found.items()))
        names.append(name)
    return tuple(names)


def _told(error: Exception, description: Description) -> str:
    """What an error says, in one line and without passwords."""
    return Secrets(description.known).hide(" ".join(str(error).split()) or type(error).__name__)


def _meant(word: str, known: Any) -> str:
    close = get_close_matches(word, list(known), 1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"


def _key_in(said: str) -> str | None:
    """The option that an error is about."""
    option = re.search(r"--([a-z-]+)", said)
    return option[1].replace("-", "_") if option else None


def _shown(value: object) -> str:
    return hidden(repr(value))[:60]
