"""The folders of the service, and which files in them a request may name."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stream import provenance
from stream.errors import NoInputError, SinkError, UsageError, WriteError
from stream.paths import check_input, fitted, megabytes, publish

SPARE = 256 << 20
"""Bytes that uploads leave free on the disk: for the queue, and what else lives there."""
_OWN = ".deblur-serve"


@dataclass(frozen=True)
class Folders:
    """Where inputs lie, and where outputs go; both are resolved."""

    inputs: Path
    outputs: Path

    @classmethod
    def of(cls, inputs: Path, outputs: Path) -> "Folders":
        """Both must be there, and neither may be in the other. Raises `UsageError`, `SinkError`."""
        found = []
        for option, folder in (("--in", inputs), ("--out", outputs)):
            if not folder.is_dir():
                raise UsageError(f"{option} {folder} is no folder; create it first")
            found.append(folder.resolve())
        here, there = found
        if here.is_relative_to(there) or there.is_relative_to(here):
            raise UsageError("--in and --out must be two folders, neither of them in the other")
        folders = cls(here, there)
        try:
            folders.own.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot write to {outputs}: {error.strerror}") from None
        return folders

    @property
    def own(self) -> Path:
        """What is the service's own: the queue, uploads and unfinished work."""
        return self.outputs / _OWN

    def work(self, key: str) -> Path:
        """The folder of a job."""
        return self.own / f"job-{key}"

    def upload(self, key: str, name: str) -> Path:
        """Where an upload lies."""
        return self.work(key) / "in" / name

    def input(self, name: str) -> Path:
        """The file in the folder of inputs that a request names, with symbolic links resolved.

        Raises `NoInputError`, in whose line no path is that a request did not name.
        """
        try:
            name.encode()  # what is no text cannot be kept
            file = (self.inputs / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise NoInputError(f"{name} does not exist in the folder of inputs") from None
        if not file.is_relative_to(self.inputs):
            # The same words: whether there is anything elsewhere is not told.
            raise NoInputError(f"{name} does not exist in the folder of inputs")
        try:
            check_input(file)
        except NoInputError as error:
            raise NoInputError(str(error).replace(str(file), name)) from None
        return file

    def output(self, name: str) -> Path | None:
        """A finished file; None where it is not there any more, or leads out of the folder."""
        with suppress(OSError, ValueError, RuntimeError):
            file = (self.outputs / name).resolve(strict=True)
            if file.is_relative_to(self.outputs) and file.is_file():
                return file
        return None

    def free_name(self, name: Path) -> Path:
        """A name in the folder of outputs that nothing has: this one, or one with a number.

        Raises `SinkError`.
        """
        wanted = self.outputs / name
        try:
            parent = wanted.parent
            if not parent.resolve().is_relative_to(self.outputs):
                raise SinkError(f"{name.parent} leads out of the folder of outputs")
            parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"cannot write {name}: {error.strerror}") from None
        number = 1
        while os.path.lexists(wanted):
            number += 1
            wanted = fitted(parent, name.stem, f"-{number}{name.suffix}")
        return wanted

    def publish(self, whole: Path, output: Path) -> None:
        """Give what is whole its name, in steps that can be gone on with after a crash.

        Raises `FileExistsError` where another file has it by now, or `OSError`.
        """
        known = provenance.of(whole)
        with suppress(FileNotFoundError):
            if whole.samefile(output):
                whole.unlink()  # it was linked before the crash
                return
        publish(whole, output, overwrite=False)
        if known is not None:
            provenance.note(output, known)

    def check_room(self, size: int) -> None:
        """Raise `WriteError` where the disk has no room for an upload."""
        free = shutil.disk_usage(self.own).free - SPARE
        if size > free:
            raise WriteError(
                f"there is no room for {megabytes(size)}: {megabytes(max(free, 0))} are free"
            )

    def forget(self, key: str) -> None:
        """Remove all that a job has but its output."""
        shutil.rmtree(self.work(key), ignore_errors=True)

    def clear(self, known: set[str]) -> None:
        """Remove what a crash has left of no job: uploads that broke off."""
        for folder in self.own.glob("job-*"):
            if folder.name.removeprefix("job-") not in known:
                shutil.rmtree(folder, ignore_errors=True)
