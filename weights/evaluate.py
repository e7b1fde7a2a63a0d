"""`python -m weights.evaluate`: measure a checkpoint on pairs of blurred and sharp frames.

What the figures are:

- PSNR: `kornia.metrics.psnr`, in dB, over RGB in 0..1, the network's output not rounded to 8 bits;
  the mean over frames of the per-frame value. A value above 100 dB, infinity included, counts as
  100 dB.
- SSIM: `kornia.metrics.ssim` with an 11x11 Gaussian window of sigma 1.5 (fixed in kornia) and
  reflected borders, over RGB in 0..1; the mean of its map, and then over frames.
- Identity PSNR: PSNR(restore(sharp), sharp), so what is lost where there is nothing to restore.
- "before" compares the blurred frame with the sharp one, "after" the restored frame.

Clips that hold blurred, depth and sharp frame side by side (as the samples of DAVIDE do) are real
captures, in which the two views lie up to 1.7 px apart. For these each figure is also given
aligned: the sharp frame is shifted onto the blurred *input* by ECC (Evangelidis and Psarakis, PAMI
2008), once per pair and thus blind to the restorer, and compared without a margin of 4 px on each
side. The last row's aligned figures are means over these clips' frames alone.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any, TypeAlias

import av
import cv2
import kornia.metrics
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from torch import Tensor

import mssnet
import weights
from weights.store import sha256
from weights.train.data import read_rgb

Frame: TypeAlias = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Pair: TypeAlias = tuple[Frame, Frame]
"""A blurred and a sharp frame of the same size."""
Restore: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB in 0..1, blurred in, restored out."""

_LOSSLESS = {".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"}
_SMALLEST = 16
"""Pixels that a frame's sides must have for SSIM's window inside the margin."""
_HIGHEST = 100.0
"""dB; keeps equal frames from turning a mean into infinity."""
_MARGIN = 4
"""Pixels cut off on every side of aligned frames."""
_FARTHEST = 3.0
"""Pixels: a farther shift would, interpolated bicubically, show the border inside the margin."""
_CROP = 200
_ZOOM = 2
_STRIP = 28
"""Height in pixels of the text above a row of the sheet."""
_GAP = 8


class PairsError(Exception):
    """There are no pairs where they should be, or they do not fit together."""


@dataclass(frozen=True)
class PairSet:
    """Pairs that share a row of figures; read anew, one by one, whenever they are needed."""

    name: str
    pairs: int
    pixel_aligned: bool
    """Whether blurred and sharp frames were made from the same pixels; others are also aligned."""
    read: Callable[[], Iterator[Pair]]


@dataclass(frozen=True)
class Figures:
    """Means over frames; PSNR in dB."""

    pairs: int
    psnr_before: float
    psnr_after: float
    psnr_gain: float
    ssim_before: float
    ssim_after: float


@dataclass(frozen=True)
class Row:
    """What was measured on one set, or on the frames of all sets together."""

    name: str
    plain: Figures
    aligned: Figures | None
    """None for pixel-aligned pairs; in the row of all sets, over the pairs that are not."""
    unaligned: int
    """Pairs that ECC failed to align; they count in `aligned` as they are."""
    identity_psnr: float


@dataclass(frozen=True)
class _Measured:
    """PSNR and SSIM before and after, of one pair."""

    psnr: tuple[float, float]
    ssim: tuple[float, float]


@dataclass(frozen=True)
class _Result:
    """Everything measured on one pair."""

    plain: _Measured
    aligned: _Measured | None
    converged: bool
    identity: float


def find_pairs(path: Path) -> list[PairSet]:
    """The sets of pairs in a folder or a clip.

    A folder holds either `blur` and `sharp`, with equally named lossless pictures in them, or .mp4
    clips with blurred, depth and sharp frame side by side, of which each is a set. Raises
    `PairsError`.
    """
    if path.is_file() and path.suffix.lower() == ".mp4":
        return [_clip(path)]
    if not path.is_dir():
        raise PairsError(f"{path} is neither a folder nor an .mp4 clip")
    if (path / "blur").is_dir() and (path / "sharp").is_dir():
        return [_folder(path)]
    if clips := sorted(file for file in path.iterdir() if file.suffix.lower() == ".mp4"):
        return [_clip(clip) for clip in clips]
    raise PairsError(f"{path} holds neither the folders blur and sharp nor .mp4 clips")


@torch.inference_mode()
def evaluate(
    restore: Restore, pairs: Sequence[PairSet], *, on_pair: Callable[[], None] = lambda: None
) -> list[Row]:
    """Measure `restore`, which never sees the sharp frame of what it restores.

    Returns a row for each set, and a last one, `all`, with the means over all frames. `on_pair` is
    called after each pair. Raises `PairsError` for pairs that cannot be read.
    """
    if not pairs:
        raise PairsError("there are no pairs to evaluate")
    rows, everything = [], []
    for one in pairs:
        results = []
        for blurred, sharp in one.read():
            results.append(_measure(restore, blurred, sharp, one.pixel_aligned))
            on_pair()
        rows.append(_row(one.name, results))
        everything += results
    return [*rows, _row("all", everything)]


def align(sharp: Frame, blurred: Frame) -> tuple[NDArray[np.float32], bool]:
    """Shift the sharp frame onto the blurred one.

    Returns it as (H, W, 3) RGB in 0..255, its border repeated outwards, and True; or as it was,
    and False, where ECC fails or finds a shift of more than 3 px.
    """
    # Sigma 2 takes away most of what tells the two apart, and the noise; ECC itself does not mind
    # differences in brightness and contrast.
    still, moving = (
        cv2.GaussianBlur(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), ksize=(0, 0), sigmaX=2
        )
        for frame in (blurred, sharp)
    )
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
    exact = sharp.astype(np.float32)
    try:
        _, warp = cv2.findTransformECC(
            still, moving, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION, criteria
        )
    except cv2.error:  # its one way to say that it does not converge
        return exact, False
    if not np.abs(warp[:, 2]).max() <= _FARTHEST:  # also where it is not a number
        return exact, False
    shifted = cv2.warpAffine(
        exact,
        warp,
        (sharp.shape[1], sharp.shape[0]),
        # Bilinear interpolation would blur the reference.
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(shifted.clip(0, 255), np.float32), True


@torch.inference_mode()
def sheet(restore: Restore, pairs: Sequence[PairSet]) -> Frame:
    """Crops to look at, one row per set: blurred, restored and sharp, enlarged twice.

    A row shows the 200x200 pixels of the set's middle frame that differ most between blurred and
    sharp.
    """
    rows = []
    for one in pairs:
        blurred, sharp = next(islice(one.read(), one.pairs // 2, None))
        restored = restore(_tensor(blurred)).cpu()[0].permute(1, 2, 0).mul(255).round().byte()
        place = _busiest(blurred, sharp)
        rows.append(_sheet_row(one.name, [x[place] for x in (blurred, restored.numpy(), sharp)]))
    return np.concatenate(rows)


def _folder(path: Path) -> PairSet:
    names = {
        side: {p.name for p in (path / side).iterdir() if p.suffix.lower() in _LOSSLESS}
        for side in ("blur", "sharp")
    }
    if not names["blur"]:
        raise PairsError(
            f"no lossless pictures ({', '.join(sorted(_LOSSLESS))}) in {path / 'blur'}"
        )
    if lone := names["blur"] ^ names["sharp"]:
        raise PairsError(f"{min(lone)} is not both in blur and in sharp of {path}")
    files = [(path / "blur" / name, path / "sharp" / name) for name in sorted(names["blur"])]
    # resolve(): "." has no name.
    return PairSet(path.resolve().name, len(files), True, partial(_read_folder, files))


def _read_folder(files: Sequence[tuple[Path, Path]]) -> Iterator[Pair]:
    for blurred_file, sharp_file in files:
        try:
            blurred, sharp = read_rgb(blurred_file), read_rgb(sharp_file)
        except ValueError as error:
            raise PairsError(str(error)) from error
        if blurred.shape != sharp.shape:
            raise PairsError(f"{blurred_file} and {sharp_file} differ in size")
        yield _not_too_small(blurred, sharp, blurred_file)


def _clip(file: Path) -> PairSet:
    # A container's own count of frames can be missing or wrong, and this finds damage early.
    pairs = sum(1 for _ in _read_clip(file))
    if not pairs:
        raise PairsError(f"{file} has no frames")
    return PairSet(file.stem, pairs, False, partial(_read_clip, file))


def _read_clip(file: Path) -> Iterator[Pair]:
    try:
        with av.open(str(file)) as container:
            if not container.streams.video:
                raise PairsError(f"{file} has no video")
            for decoded in container.decode(video=0):
                frame = np.asarray(decoded.to_ndarray(format="rgb24"), np.uint8)
                width, rest = divmod(frame.shape[1], 3)
                if rest:
                    raise PairsError(
                        f"{file} is not blurred, depth and sharp frame side by side: "
                        f"its width, {frame.shape[1]}, is not a multiple of 3"
                    )
                yield _not_too_small(frame[:, :width], frame[:, 2 * width :], file)
    except (av.FFmpegError, OSError) as error:
        raise PairsError(f"cannot read the clip {file}: {error.strerror}") from error


def _not_too_small(blurred: Frame, sharp: Frame, where: Path) -> Pair:
    if min(blurred.shape[:2]) < _SMALLEST:
        raise PairsError(f"the frames of {where} are smaller than {_SMALLEST} px")
    return np.ascontiguousarray(blurred), np.ascontiguousarray(sharp)


def _measure(restore: Restore, blurred: Frame, sharp: Frame, pixel_aligned: bool) -> _Result:
    before, target = _tensor(blurred), _tensor(sharp)
    # The figures are computed on the CPU, so that they compare between devices.
    after = restore(before).cpu()
    plain = _compare(before, after, target)
    identity = _psnr(restore(target).cpu(), target)
    if pixel_aligned:
        return _Result(plain, None, True, identity)
    shifted, converged = align(sharp, blurred)
    inside = (..., slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    aligned = _compare(before[inside], after[inside], _tensor(shifted)[inside])
    return _Result(plain, aligned, converged, identity)


def _compare(before: Tensor, after: Tensor, target: Tensor) -> _Measured:
    return _Measured(
        psnr=(_psnr(before, target), _psnr(after, target)),
        ssim=(_ssim(before, target), _ssim(after, target)),
    )


def _psnr(image: Tensor, target: Tensor) -> float:
    return min(float(kornia.metrics.psnr(image, target, max_val=1.0)), _HIGHEST)


def _ssim(image: Tensor, target: Tensor) -> float:
    return float(kornia.metrics.ssim(image, target, window_size=11, max_val=1.0).mean())


def _row(name: str, results: Sequence[_Result]) -> Row:
    aligned = [result.aligned for result in results if result.aligned]
    return Row(
        name=name,
        plain=_means([result.plain for result in results]),
        aligned=_means(aligned) if aligned else None,
        unaligned=sum(not result.converged for result in results),
        identity_psnr=fmean(result.identity for result in results),
    )


def _means(measured: Sequence[_Measured]) -> Figures:
    psnr_before, psnr_after = (fmean(m.psnr[index] for m in measured) for index in (0, 1))
    ssim_before, ssim_after = (fmean(m.ssim[index] for m in measured) for index in (0, 1))
    return Figures(
        pairs=len(measured),
        psnr_before=psnr_before,
        psnr_after=psnr_after,
        psnr_gain=psnr_after - psnr_before,
        ssim_before=ssim_before,
        ssim_after=ssim_after,
    )


def _tensor(image: Frame | NDArray[np.float32]) -> Tensor:
    """(H, W, 3) in 0..255 as (1, 3, H, W) float32 in 0..1."""
    planar = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return torch.from_numpy(planar)[None] / 255


def _busiest(blurred: Frame, sharp: Frame) -> tuple[slice, slice]:
    """The place, 200x200 or as large as the frame, where the two differ most."""
    difference = np.abs(blurred.astype(np.float64) - sharp).sum(axis=2)
    height, width = (min(_CROP, side) for side in difference.shape)
    sums = cv2.integral(difference)
    bands = sums[height:] - sums[:-height]
    windows = bands[:, width:] - bands[:, :-width]
    top, left = (int(place) for place in np.unravel_index(windows.argmax(), windows.shape))
    return slice(top, top + height), slice(left, left + width)


def _sheet_row(name: str, crops: Sequence[Frame]) -> Frame:
    cell = _CROP * _ZOOM
    row = np.full((_STRIP + cell + _GAP, 3 * (cell + _GAP) - _GAP, 3), 255, np.uint8)
    titles = (f"{name}: blurred", "restored", "sharp")
    for column, (title, crop) in enumerate(zip(titles, crops, strict=True)):
        left = column * (cell + _GAP)
        large = crop.repeat(_ZOOM, axis=0).repeat(_ZOOM, axis=1)
        row[_STRIP : _STRIP + large.shape[0], left : left + large.shape[1]] = large
        place = (left + 4, _STRIP - 9)
        cv2.putText(row, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return row


class Precision(StrEnum):
    """What a network computes in."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def _table(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="", box=None, pad_edge=False)
    table.add_column("set")
    table.add_column("", no_wrap=True)
    for heading in ("\npairs", "PSNR\nbefore", "\nafter", "\ngain", "SSIM\nbefore", "\nafter"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("identity\nPSNR", justify="right", no_wrap=True)
    table.add_column("not\naligned", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, "plain", *_cells(row.plain), f"{row.identity_psnr:.2f}", "")
        if row.aligned:
            table.add_row("", "aligned", *_cells(row.aligned), "", str(row.unaligned))
    return table


def _cells(figures: Figures) -> list[str]:
    return [
        str(figures.pairs),
        f"{figures.psnr_before:.2f}",
        f"{figures.psnr_after:.2f}",
        f"{figures.psnr_gain:+.2f}",
        f"{figures.ssim_before:.4f}",
        f"{figures.ssim_after:.4f}",
    ]


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[str, typer.Option(help="Name of a checkpoint, or a .safetensors file.")],
    pairs: Annotated[
        list[Path],
        typer.Option(
            help="Folder with blur/ and sharp/, or .mp4 clip or folder of clips with blurred, "
            "depth and sharp frame side by side. May be given several times."
        ),
    ],
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    precision: Annotated[
        Precision, typer.Option(help="What the network computes in.")
    ] = Precision.FLOAT32,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for all figures, as JSON.")
    ] = None,
    sheet_file: Annotated[
        Path | None, typer.Option("--sheet", help="File for crops to look at, .png.")
    ] = None,
) -> None:
    """Measure a checkpoint on pairs of blurred and sharp frames."""
    try:
        # Before the work, which takes minutes.
        for file in (json_file, sheet_file):
            if file and not file.parent.is_dir():
                raise PairsError(f"there is no folder {file.parent} for {file.name}")
        if sheet_file and sheet_file.suffix.lower() != ".png":
            raise PairsError(f"--sheet must name a .png file, not {sheet_file}")
        if device not in ("cpu", "cuda"):
            raise PairsError(f"unknown device {device}; choose cpu or cuda")
        if device == "cuda" and not torch.cuda.is_available():
            raise PairsError("no usable GPU here; use --device cpu")
        sets = [one for path in pairs for one in find_pairs(path)]
        file = weights.path(model)
        restore = mssnet.load(file, device=device, dtype=getattr(torch, precision))
        errors = Console(stderr=True)
        with Progress(console=errors, transient=True, disable=not sys.stderr.isatty()) as progress:
            task = progress.add_task("evaluating", total=sum(one.pairs for one in sets))
            rows = evaluate(restore, sets, on_pair=lambda: progress.advance(task))
        made = f"{model}, {precision} on {device}, torch {torch.__version__}"
        Console().print(_table(rows, made))
        if json_file:
            facts: dict[str, Any] = {
                "model": model,
                "sha256": sha256(file),
                "precision": str(precision),
                "device": device,
                "torch": torch.__version__,
                "kornia": version("kornia"),
                "pairs": [str(path) for path in pairs],
                "sets": [asdict(row) for row in rows[:-1]],
                "all": asdict(rows[-1]),
            }
            json_file.write_text(json.dumps(facts, indent=2) + "\n")
        if sheet_file:
            crops = cv2.cvtColor(sheet(restore, sets), cv2.COLOR_RGB2BGR)
            if not cv2.imwrite(str(sheet_file), crops):
                raise PairsError(f"cannot write {sheet_file}")
    except (PairsError, weights.WeightsError, ValueError, OSError) as error:
        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app()
