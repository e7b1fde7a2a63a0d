"""Clean a shaky clip and show what it brought: `python -m demo`, or with `--input my.mp4`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import kornia.metrics
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

import stream
from demo import picture, scene, video
from demo.video import Picture

_SAMPLES = 30
"""About so many frames of a user's clip are looked at to find one for the picture."""

_out = Console(highlight=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class Figures:
    """How close a clip is to its original, as means over its frames."""

    psnr: float
    """dB."""
    ssim: float
    """0..1."""


def main(
    input: Annotated[
        Path | None, typer.Option(help="Your clip; without it, one is made.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder for what is made.")] = Path("demo"),
) -> None:
    """Clean a shaky clip and show what it brought."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if input is None:
            _made(out)
        else:
            _given(input, out)
    except stream.DeblurError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(str(error), stream.SinkError.exit_code)
    except KeyboardInterrupt:
        _fail("stopped", 130)


def _made(out: Path) -> None:
    """Film the street, clean the film, compare with the original."""
    shaky, sharp, clean = out / "shaky.mp4", out / "sharp.mp4", out / "clean.mp4"
    with _out.status("filming a street with an unsteady hand"):
        lengths = scene.render(shaky, sharp)
    _out.print(
        f"{shaky}: {len(lengths)} frames, each blurred along {lengths.min():.1f} to "
        f"{lengths.max():.1f} pixels ({np.median(lengths):.1f} at the median)",
        soft_wrap=True,
    )
    report = _clean(shaky, clean)
    # More blurred than three quarters of the frames: neither the best case nor the worst.
    chosen = int(np.argsort(lengths)[3 * (len(lengths) - 1) // 4])
    with _out.status("comparing with the sharp original"):
        before, after = _compare(shaky, clean, sharp, chosen, out / "before_after.png")
    table = Table(box=None, padding=(0, 3, 0, 0))
    for column in ("against the original", "before", "after", "gain"):
        table.add_column(column, justify="left" if column.startswith("against") else "right")
    gain = after.psnr - before.psnr
    table.add_row("PSNR", f"{before.psnr:.2f} dB", f"{after.psnr:.2f} dB", f"{gain:+.2f} dB")
    gain = after.ssim - before.ssim
    table.add_row("SSIM", f"{before.ssim:.3f}", f"{after.ssim:.3f}", f"{gain:+.3f}")
    _out.print(table)
    _tell(report, shaky, clean, out / "before_after.png")
    _out.print(
        f"The picture is frame {chosen}, blurred along {lengths[chosen]:.1f} pixels: more than "
        "three quarters of the frames. The figures are means over all frames.",
        soft_wrap=True,
    )


def _given(source: Path, out: Path) -> None:
    """Clean the user's clip and show the frame that changed most."""
    clean = out / "clean.mp4"
    report = _clean(source, clean)
    with _out.status("looking for the frame that changed most"):
        chosen, before, after = _most_changed(source, clean, max(report.frames // _SAMPLES, 1))
        picture.before_after(before, after, out / "before_after.png")
    _tell(report, source, clean, out / "before_after.png")
    _out.print(
        f"The picture is frame {chosen}: of about {_SAMPLES} evenly spaced frames the one that "
        "changed most.",
        soft_wrap=True,
    )


def _clean(source: Path, clean: Path) -> stream.Report:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_out, transient=True, disable=not _out.is_terminal) as bar:
        task = bar.add_task("cleaning", total=None, speed="")

        def show(state: stream.Progress) -> None:
            bar.update(
                task,
                completed=state.frames,
                total=state.expected_frames,
                speed=f"{state.fps:.1f} frames/s",
            )

        report = stream.run(source, clean, overwrite=True, progress=show)
    for warning in report.warnings:
        _err.print(f"demo: note: {warning}", markup=False)
    return report


def _tell(report: stream.Report, source: Path, clean: Path, shown: Path) -> None:
    rate = video.rate(source)
    pace = f", {report.fps / float(rate):.2f} x real time" if rate else ""
    _out.print(
        f"{report.frames} frames in {report.seconds:.1f} s: {report.fps:.2f} frames/s{pace}",
        soft_wrap=True,
    )
    _out.print(f"clip:    {clean}\npicture: {shown}", markup=False, soft_wrap=True)


def _compare(
    shaky: Path, clean: Path, sharp: Path, chosen: int, shown: Path
) -> tuple[Figures, Figures]:
    """Measure both clips against the original, and draw the chosen frame."""
    # SSIM is many small convolutions; threads cost them more than they bring.
    torch.set_num_threads(1)
    rows: list[tuple[float, float, float, float]] = []
    clips = zip(video.frames(shaky), video.frames(clean), video.frames(sharp), strict=True)
    for index, (before, after, truth) in enumerate(clips):
        rows.append((*_figures(before, truth), *_figures(after, truth)))
        if index == chosen:
            picture.before_after(before, after, shown)
    mean: NDArray[np.float64] = np.mean(rows, axis=0)
    return Figures(float(mean[0]), float(mean[1])), Figures(float(mean[2]), float(mean[3]))


def _figures(restored: Picture, truth: Picture) -> tuple[float, float]:
    """PSNR in dB and SSIM of one frame."""
    a, b = (torch.from_numpy(p).permute(2, 0, 1)[None].float() / 255 for p in (restored, truth))
    psnr = float(kornia.metrics.psnr(a, b, 1.0))
    return psnr, float(kornia.metrics.ssim(a, b, 11).mean())


def _most_changed(source: Path, clean: Path, every: int) -> tuple[int, Picture, Picture]:
    """Of every so many frames the one that changed most, with its number."""
    most = -1.0
    found: tuple[int, Picture, Picture] | None = None
    pairs = zip(video.frames(source, every), video.frames(clean, every), strict=False)
    for index, (before, after) in enumerate(pairs):
        change = float(np.mean(np.abs(before.astype(np.int16) - after.astype(np.int16))))
        if change > most:
            most, found = change, (index * every, before, after)
    if found is None:
        raise stream.SourceError(f"{source} has no frames to show")
    return found


def _fail(text: str, code: int) -> None:
    _err.print(f"demo: {' '.join(text.split())}", markup=False)
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
