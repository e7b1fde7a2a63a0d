"""Image files: all their bits, and what they say beside the picture."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from stream import provenance
from stream.errors import SinkError, SourceError, UsageError, WriteError
from stream.input.container.opening import choose_video, open_input
from stream.options.settings import Settings
from stream.paths import Overwrite, fitted, publish

DEEP: Final = (".png", ".tif", ".tiff")
"""Those that hold 16 bits."""
_KINDS: Final = {
    cv2.IMAGE_METADATA_EXIF: "EXIF",
    cv2.IMAGE_METADATA_XMP: "XMP",
    cv2.IMAGE_METADATA_ICCP: "color profile",
}
_JPEG = (
    *(cv2.IMWRITE_JPEG_QUALITY, 97),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)
_SETTINGS: Final = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": (cv2.IMWRITE_WEBP_QUALITY, 101),  # beyond 100: without loss
}
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
_MOST_JPEG = 65_535

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Image:
    """An image."""

    rgb: Array
    """(H, W, 3), uint8 or uint16."""
    alpha: Array | None = None
    """(H, W), of the same type."""
    gray: bool = False
    """Whether it is to be written without color."""
    said: tuple[tuple[int, Array], ...] = ()
    """What is beside the picture, by OpenCV's kinds."""


def read(path: Path, max_pixels: int) -> Image:
    """An image as it is stored, not turned. Raises a `SourceError`."""
    # FFmpeg says the size before anything is decoded.
    with open_input(path, max_pixels=max_pixels) as container:
        choose_video(container, path, max_pixels)
    _quiet()
    try:
        pixels, kinds, values = cv2.imreadWithMetadata(str(path), flags=cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be read ({error.err or 'damaged'})") from error
    if pixels is None or not pixels.size:
        raise SourceError(f"{path} is damaged, or no image that can be read")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise SourceError(f"{path} has {pixels.dtype} pixels; images of 8 and 16 bits are restored")
    known = [] if kinds is None else [int(kind) for kind in np.ravel(kinds)]
    said = tuple((kind, np.ravel(value)) for kind, value in zip(known, values, strict=True))
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return Image(np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, 2), None, True, said)
    alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
    return Image(pixels[..., 2::-1], alpha, False, said)


def write(image: Image, path: Path, overwrite: Overwrite) -> list[str]:
    """Write an image under its name once it is whole; what the file cannot hold is returned, in
    words. Raises `SinkError` and `WriteError`."""
    suffix, lost = path.suffix.lower(), []
    rgb, alpha = image.rgb, image.alpha
    if rgb.dtype == np.uint16 and suffix not in DEEP:
        rgb, lost = np.rint(rgb / 257).astype(np.uint8), ["16 bits"]
        alpha = None if alpha is None else np.rint(alpha / 257).astype(np.uint8)
    pixels = rgb[..., ::-1]
    if image.gray:
        pixels = np.rint(rgb.astype(np.float32) @ _LUMA)
        pixels = pixels.astype(rgb.dtype)
    elif alpha is not None and suffix in (".jpg", ".jpeg", ".bmp"):
        lost.append("transparency")
    elif alpha is not None:
        pixels = np.dstack([pixels, _sized(alpha, rgb)])
    data, kept = _encoded(np.ascontiguousarray(pixels), image.said, path)
    lost += [_KINDS.get(kind, "metadata") for kind, _ in image.said if kind not in kept]
    part = fitted(path.parent, path.stem, f".part{path.suffix}")
    try:
        part.write_bytes(data)
        publish(part, path, overwrite=overwrite)
    except FileExistsError as error:
        part.unlink(missing_ok=True)
        raise SinkError(f"{path} came while this was at work and is left as it is") from error
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {error.strerror}; free some space") from error
    provenance.note(path, {"input": "images"})
    return lost


def check_of_video(settings: Settings) -> None:
    """Raise `UsageError` where something is asked for that images have not."""
    if settings.encoder.codec is not None or settings.encoder.quality is not None:
        raise UsageError("--codec and --quality are of video; images are what their names say")
    if settings.resume:
        raise UsageError("images are not gone on with; leave out --resume")


def check_outputs(outputs: Sequence[Path], overwrite: Overwrite) -> None:
    """Refuse names that images have already, unless they may be replaced, or no folder."""
    for folder in {each.parent for each in outputs}:
        if not folder.is_dir():
            raise SinkError(f"the folder {folder} does not exist; create it first")
    for output in outputs:
        mine = overwrite == "own" and output.exists() and provenance.by_us(output)
        if os.path.lexists(output) and overwrite is not True and not mine:
            raise SinkError(f"{output} exists already; replace it with -o and --overwrite")


def _encoded(
    pixels: Array, said: Sequence[tuple[int, Array]], path: Path
) -> tuple[bytes, set[int]]:
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg") and max(pixels.shape[:2]) > _MOST_JPEG:
        raise SinkError(f"JPEG has at most {_MOST_JPEG} pixels a side; use .png")
    _quiet()
    kinds, values = [kind for kind, _ in said], [value for _, value in said]
    try:
        done, data = cv2.imencodeWithMetadata(
            suffix, pixels, kinds, values, list(_SETTINGS.get(suffix, ()))
        )
    except cv2.error as error:
        raise SinkError(f"{path} cannot be written as {suffix} ({error.err})") from error
    if not done:
        raise SinkError(f"{path} cannot be written as {suffix}; use .png")
    written = bytes(np.ravel(data))
    kept: set[int] = set()
    if said:
        _, found, _ = cv2.imdecodeWithMetadata(
            np.frombuffer(written, np.uint8), cv2.IMREAD_UNCHANGED
        )
        kept = set() if found is None else {int(kind) for kind in np.ravel(found)}
    return written, kept


def _quiet() -> None:
    # Its warnings are of what is told here in a line of our own.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _sized(alpha: Array, rgb: Array) -> Array:
    height, width = rgb.shape[:2]
    if alpha.shape == (height, width):
        return alpha
    return np.asarray(cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR))
