"""Files of tensors that tell whether they are what was written."""

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from stream.frame import Memory


def packed(tensors: Mapping[str, Any], said: dict[str, str]) -> bytes:
    """The content of a file of tensors and words, with a checksum."""
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    # A power cut can leave a file of the right size full of zeros.
    return save(tensors, said | {"crc32": str(_crc(tensors))})


def load(file: Path) -> tuple[Memory, dict[str, str]]:
    """Tensors and words of a file; raises ValueError if they are not what was written."""
    with safe_open(file, framework="numpy") as opened:
        said = opened.metadata() or {}
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if said.get("crc32") != str(_crc(tensors)):
        raise ValueError(f"{file} is damaged")
    return tensors, said


def _crc(tensors: Mapping[str, Any]) -> int:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name], crc)
    return crc


def crc_of(file: Path) -> int:
    """The checksum of a file."""
    crc = 0
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            crc = zlib.crc32(chunk, crc)
    return crc
