"""The checkpoints on this machine."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from torch import Tensor

_HERE = Path(__file__).parent


class WeightsError(Exception):
    """A checkpoint is unknown, missing, damaged or not what its hash says."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint and what is known of it."""

    name: str
    file: Path
    bytes: int
    sha256: str
    preset: str
    """The network's size: a preset of mssnet, or its widths."""
    about: str
    """One line for people: what it is for, and where it comes from."""
    shipped: bool


def folder() -> Path:
    """Where imported checkpoints lie."""
    return platformdirs.user_data_path("deblur-stream", appauthor=False) / "models"


def checkpoints() -> list[Checkpoint]:
    """All checkpoints on this machine, shipped ones first."""
    found = []
    for name, facts in json.loads((_HERE / "manifest.json").read_text()).items():
        found.append(_checkpoint(name, _HERE / facts["file"], facts, shipped=True))
    for card in sorted(folder().glob("*.json")):
        try:
            facts = json.loads(card.read_text())
            file = card.with_suffix(".safetensors")
            found.append(_checkpoint(card.stem, file, facts, shipped=False))
        except (OSError, ValueError, KeyError) as error:
            raise WeightsError(f"{card} is damaged ({error}); import the model again") from error
    return found


def path(name: str) -> Path:
    """The file of a checkpoint, after its size and SHA-256 were checked.

    `name` is a checkpoint's name, or the path of a `.safetensors` file of the user's own, which
    is taken as it is. Raises `WeightsError`.
    """
    if name.endswith(".safetensors"):
        file = Path(name)
        if not file.is_file():
            raise WeightsError(f"there is no weights file {name}")
        return file
    known = {checkpoint.name: checkpoint for checkpoint in checkpoints()}
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise WeightsError(f"unknown model {name}; {hint}")
    _verify(known[name])
    return known[name].file


def add(name: str, state: "Mapping[str, Tensor]", *, preset: str, about: str) -> Checkpoint:
    """Store a state dict (without aliases) as a checkpoint that `path(name)` then finds."""
    from safetensors.torch import save_file  # loads PyTorch, which takes seconds

    check_name(name)
    file = folder() / f"{name}.safetensors"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, part)
        facts = {
            "bytes": part.stat().st_size,
            "sha256": sha256(part),
            "preset": preset,
            "about": about,
        }
        part.replace(file)
        file.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    except OSError as error:
        raise WeightsError(f"cannot store {name} in {file.parent}: {error.strerror}") from error
    return _checkpoint(name, file, facts, shipped=False)


def check_name(name: str) -> None:
    """Raise `WeightsError` where `name` cannot be that of a checkpoint of the user's own."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name) or name.endswith(".safetensors"):
        raise WeightsError(
            f"{name!r} cannot name a model: use letters, digits, '.', '_' and '-', 64 at most"
        )
    if any(checkpoint.name == name and checkpoint.shipped for checkpoint in checkpoints()):
        raise WeightsError(f"{name} is the name of a shipped model; choose another one")


def sha256(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _checkpoint(name: str, file: Path, facts: Mapping[str, object], *, shipped: bool) -> Checkpoint:
    return Checkpoint(
        name=name,
        file=file,
        bytes=int(str(facts["bytes"])),
        sha256=str(facts["sha256"]),
        preset=str(facts["preset"]),
        about=str(facts["about"]),
        shipped=shipped,
    )


def _verify(checkpoint: Checkpoint) -> None:
    remedy = "install deblur-stream again" if checkpoint.shipped else "import the model again"
    try:
        size = checkpoint.file.stat().st_size
        if size != checkpoint.bytes:
            raise WeightsError(
                f"the weights {checkpoint.file} are damaged "
                f"({size} bytes instead of {checkpoint.bytes}); {remedy}"
            )
        if sha256(checkpoint.file) != checkpoint.sha256:
            raise WeightsError(
                f"the weights {checkpoint.file} are not the ones they should be "
                f"(their SHA-256 differs from the pinned one); {remedy}"
            )
    except OSError as error:
        raise WeightsError(
            f"cannot read the weights {checkpoint.file}: {error.strerror}; {remedy}"
        ) from error
