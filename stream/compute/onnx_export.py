"""`deblur models export`: a model of this program as a file for other ones."""

import secrets
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

import torch

from mssnet.motion import PLANES
from stream.compute.models import DTYPES, fingerprint, model_file
from stream.compute.onnx import OPSET, Network, exported, network
from stream.compute.onnx_runtime import available, run_once
from stream.errors import DeviceError, ModelError, SinkError, UsageError
from stream.paths import fitted, megabytes, publish

_SIZE: Final = (64, 96)
"""Height and width of the picture that a file is tried with; not those that it was made with."""
_LEAST_DB: Final = {torch.float32: 60.0, torch.float16: 40.0}
"""PSNR against PyTorch in float32 below which a file is not given out."""


@dataclass(frozen=True)
class ExportedModel:
    """A file that was written."""

    file: Path
    bytes: int
    psnr_db: float
    """Of what ONNX Runtime makes of it, against PyTorch in float32."""
    inputs: tuple[str, ...]
    output: str
    multiple_of: int

    def __str__(self) -> str:
        """Everything in one line."""
        sizes = "any size" if self.multiple_of == 1 else f"multiples of {self.multiple_of} pixels"
        return (
            f"{self.file} ({megabytes(self.bytes)}, opset {OPSET}, {', '.join(self.inputs)} -> "
            f"{self.output}, {sizes}, {self.psnr_db:.0f} dB against PyTorch)"
        )


def export_model(
    name: str,
    file: Path,
    *,
    motion: bool = False,
    precision: str = "float32",
    overwrite: bool = False,
) -> ExportedModel:
    """Write a model, by name or path, as ONNX, after ONNX Runtime has run it.

    With `motion` it also takes what `mssnet.motion` tells. Nothing is under the file's name until
    it is whole. Raises `DeviceError`, `ModelError`, `SinkError` and `UsageError`.
    """
    dtype = DTYPES.get(precision)
    if dtype not in _LEAST_DB:
        raise UsageError(f"--precision of ONNX files is float32 or float16, got {precision}")
    if not available():
        raise DeviceError(
            "what writes ONNX files is not installed; use pip install 'deblur-stream[onnx]'"
        )
    if file.exists() and not overwrite:
        raise SinkError(f"{file} exists already; replace it with --overwrite")
    made = network(model_file(name), name)
    notes = {"model": name, "sha256": fingerprint(name), "made by": version("deblur-stream")}
    content = exported(made, motion=motion, dtype=dtype, notes=notes)
    psnr_db = _psnr_db(content, made, motion=motion)
    if not psnr_db >= _LEAST_DB[dtype]:
        raise ModelError(
            f"ONNX Runtime makes something else of {name} ({psnr_db:.0f} dB); "
            "use --precision float32, or another version of onnxruntime"
        )
    _write(content, file, overwrite=overwrite)
    inputs = ("image", "motion") if motion else ("image",)
    return ExportedModel(file, len(content), psnr_db, inputs, made.output, made.multiple_of)


@torch.no_grad()
def _psnr_db(content: bytes, made: Network, *, motion: bool) -> float:
    draw = torch.Generator().manual_seed(1)
    images = {"image": torch.rand(1, 3, *_SIZE, generator=draw)}
    if motion:
        images["motion"] = torch.rand(1, PLANES, *_SIZE, generator=draw)
    error = (run_once(content, images) - made.module(*images.values())).double().square().mean()
    return float(-10 * error.clamp(min=1e-20).log10())


def _write(content: bytes, file: Path, *, overwrite: bool) -> None:
    part = fitted(file.parent, file.stem, f".{secrets.token_hex(4)}{file.suffix}")
    try:
        try:
            part.write_bytes(content)
            publish(part, file, overwrite=overwrite)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
    except OSError as error:
        raise SinkError(f"cannot write {file}: {error.strerror or error}") from error
