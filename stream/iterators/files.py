"""A whole file, restored by a program."""

import os
from collections.abc import Callable, Sequence
from typing import Literal

from stream.files.job import Job
from stream.files.report import Progress, Report
from stream.limits import DEFAULT_MAX_PIXELS
from stream.options.encoding import EncoderSettings
from stream.options.exposure import Exposure
from stream.options.reading import Span
from stream.options.restore import AUTO, USUAL_FUSE
from stream.options.scale import Scale
from stream.options.settings import Settings


def run(  # noqa: PLR0913 (its keywords are its interface)
    input: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    model: str = AUTO,
    strength: float | Literal["auto"] = 1.0,
    fuse: int = USUAL_FUSE,
    smooth: float | None = None,
    shutter: str = AUTO,
    motion: Literal["auto", "flow", "gyro"] = "auto",
    fov: str | None = None,
    readout: float | None = None,
    stabilize: bool = False,
    crop: float = 0.1,
    upscale: str | None = None,
    upscaler: str = AUTO,
    device: str = AUTO,
    precision: str = AUTO,
    engine: str = AUTO,
    decoder: str = AUTO,
    encoder: EncoderSettings | None = None,
    start: float = 0.0,
    duration: float | None = None,
    tile: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    deinterlace: str = AUTO,
    apply_rotation: bool = False,
    drop: Sequence[str] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Restore a video file; everything in it but the blur stays as it is.

        report = stream.run("shaky.mp4", "clean.mp4", strength=0.8)
        print(report.frames, report.fps, report.conforms)

    `output` is beside the input unless given. The options are those of `deblur run`; `start` and
    `duration` are seconds, and `encoder` says what `--codec`, `--quality` and `--encoder-preset`
    do. Raises a `DeblurError` that says in one line what is wrong.
    """
    settings = Settings(
        model=model,
        strength=strength,
        fuse=fuse,
        smooth=smooth,
        shutter=Exposure(shutter),
        motion=motion,
        fov=fov,
        readout=readout,
        stabilize=stabilize,
        crop=crop,
        upscale=Scale.parse(upscale) if upscale is not None else None,
        upscaler=upscaler,
        device=device,
        precision=precision,
        engine=engine,
        decoder=decoder,
        tile=tile,
        overwrite=overwrite,
        resume=resume,
        drop=tuple(drop),
        max_pixels=max_pixels,
        deinterlace=deinterlace,
        apply_rotation=apply_rotation,
        span=Span(start, duration),
        encoder=encoder or EncoderSettings(),
    )
    return Job(input, output, settings).run(progress)
