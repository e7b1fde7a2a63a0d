"""`deblur compare`."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import (
    Argument,
    Duration,
    MaxPixels,
    Option,
    Start,
)
from stream.cli.options.arguments import seconds, timestamp
from stream.cli.terminal import reported, say
from stream.cli.terminal.progress import counter
from stream.limits import DEFAULT_MAX_PIXELS


def compare(
    input: Annotated[Path, Argument(help="The video file.", show_default=False)],
    outputs: Annotated[
        list[Path], Argument(help="What was made of it: up to six.", show_default=False)
    ],
    to: Annotated[
        Path | None,
        Option(
            help="The file to write: a page (.html), a sheet of crops (.png) or a video (.mp4, "
            ".mkv or .mov); a page beside OUTPUT, or of several beside INPUT, by default. A last "
            "name that ends in .html or .png is taken for it.",
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        Option(
            help="A video that shows what the others should be: PSNR and SSIM are told as well.",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as",
            help="page, sheet or video; by the ending of --to unless given.",
            show_default=False,
        ),
    ] = None,
    view: Annotated[
        str | None,
        typer.Option(
            help="Of a video: side-by-side, or split for a part from each.", show_default=False
        ),
    ] = None,
    moments: Annotated[
        int | None,
        typer.Option(help="How many moments a page or a sheet shows; 6 unless given."),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(help="How many frames in a row a page has of each moment; 6 unless given."),
    ] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            help="X,Y,W,H: the part that a sheet shows, in pixels of INPUT; where there is most "
            "detail unless given.",
            show_default=False,
        ),
    ] = None,
    start: Start = "0",
    duration: Duration = None,
    json_file: Annotated[
        Path | None, Option("--json", help="Write the figures of each frame to this file.")
    ] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Show what became of a video: a page to look at, a sheet of crops, or a video of all."""
    import stream
    from stream.paths import check_input, check_output

    with reported():
        check_input(input)
        check_input(outputs[0])
        from stream.compare import Showing, parse_crop, target
        from stream.compare import compare as compared
        from stream.stages.advice import said_of

        if to is None and len(outputs) > 1 and outputs[-1].suffix.lower() in (".html", ".png"):
            *outputs, to = outputs
        if to is None and len(outputs) > 1 and not outputs[-1].exists():
            raise stream.NoInputError(
                f"{outputs[-1]} does not exist; name a video that is to be written with --to"
            )
        to, kind = target(outputs[0] if len(outputs) == 1 else input, to, kind)
        showing = Showing(
            kind=kind,
            view=view,
            moments=moments,
            frames=frames,
            crop=parse_crop(crop) if crop is not None else None,
            span=stream.Span(
                timestamp("--start", start, input),
                seconds("--duration", duration) if duration is not None else None,
            ),
            overwrite=overwrite,
            max_pixels=max_pixels,
        )
        if json_file is not None:
            for each in (input, *outputs, *([] if truth is None else [truth])):
                check_output(each, json_file, overwrite=overwrite)
            if json_file.absolute() == to.absolute():
                raise stream.SinkError(f"{to} is what is shown; give --json another name")
        with counter(f"comparing {input.name}") as show:
            found = compared(input, outputs, to, showing, show, truth=truth)
        if json_file is not None:
            found.save(json_file, overwrite=overwrite)
    *lines, last = found.summary.splitlines()
    for line in lines:
        say(line)
    say(f"{last} -> {to}")
    gains = [found.ratio("sharpness", video) for video in range(1, len(outputs) + 1)]
    if truth is None and all(said_of(gain) for gain in gains):
        say(f"note: {said_of(max(gain for gain in gains if gain is not None))}")
