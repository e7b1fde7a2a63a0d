"""Options of `deblur run` alone."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import (
    CODING,
    FILES,
    LOOKING,
    MACHINE,
    MACHINES,
    PART,
    PICTURE,
    PIPES,
    Argument,
    Option,
    presets,
)
from stream.options.restore import MOST_FUSE

Model = Annotated[
    str,
    typer.Option(
        rich_help_panel=PICTURE,
        help="A model's name (see `deblur models`), a .safetensors file, or none: fusion alone. "
        "auto is lite; none is the quickest.",
    ),
]
Fuse = Annotated[
    int,
    typer.Option(
        rich_help_panel=PICTURE,
        min=0,
        max=MOST_FUSE,
        help="With how many frames before and after it each one is fused, which takes what is "
        "sharp from where it is sharp; 0: with none.",
    ),
]
MotionFrom = Annotated[
    str,
    typer.Option(
        "--motion",
        rich_help_panel=PICTURE,
        help="What tells how the picture moved while the shutter was open: flow, the pictures; "
        "gyro, a gyroscope's readings in the file or a .gcsv log beside it; or auto, both.",
    ),
]
Fov = Annotated[
    str | None,
    typer.Option(
        metavar="DEGREES",
        rich_help_panel=PICTURE,
        help="What the lens sees from left to right, for --motion: 94, or 118:fisheye.",
        show_default=False,
    ),
]
Readout = Annotated[
    float | None,
    typer.Option(
        metavar="MS",
        rich_help_panel=PICTURE,
        help="Milliseconds from a frame's first row to its last, for --motion and --stabilize; "
        "below 0 from the bottom up.",
        show_default=False,
    ),
]
Decoder = Annotated[
    str,
    typer.Option(
        rich_help_panel=MACHINE,
        help="auto, software or cuda (the GPU's own decoder): what decodes. auto takes the GPU's "
        "where the network runs on it and it gives the same pictures.",
    ),
]
Encoder = Annotated[
    str,
    typer.Option(
        rich_help_panel=CODING,
        help="auto (software), software or nvenc (an NVIDIA GPU's h264, hevc and av1 encoders).",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=MACHINES,
        metavar="auto|ray://HOST:PORT|local:N",
        help="Have a Ray cluster restore the video in pieces: the one this machine belongs to, "
        "one elsewhere, or one of N processes on this machine.",
        show_default=False,
    ),
]
Part = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=MACHINES,
        metavar="I/N",
        help="Restore only piece I of N, such as 2/5, into a folder beside OUTPUT; deblur join "
        "makes the file of all.",
        show_default=False,
    ),
]
Size = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PIPES,
        metavar="WxH",
        help="The input is raw video of this size, such as 1920x1080.",
        show_default=False,
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PIPES,
        help="Frames per second of raw video and images, such as 30 or 30000/1001; 25 by default.",
        show_default=False,
    ),
]
PixFmt = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PIPES,
        help="FFmpeg's name of how raw video is stored; yuv420p by default.",
        show_default=False,
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PIPES,
        metavar="NAME[,RANGE]",
        help="Colors that what comes by a pipe does not tell: bt601, bt709, bt2020, hlg or pq, and "
        "limited or full.",
        show_default=False,
    ),
]
End = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="End before this time or frame, in place of --duration.",
        show_default=False,
        rich_help_panel=PART,
    ),
]
Paths = Annotated[
    list[Path] | None,
    Argument(
        metavar="INPUT [OUTPUT]",
        help="A video file and the file to write (INPUT.deblurred.EXT beside it by default); "
        "or files, folders and patterns, and the folder to write to; - is standard input or "
        "output.",
        show_default=False,
    ),
]
To = Annotated[
    Path | None,
    Option(
        *("--output", "-o"),
        help="The file or folder to write to: all others are inputs then. A video that was not "
        "made by deblur is replaced only where it is named so.",
        show_default=False,
        rich_help_panel=FILES,
    ),
]
ListFile = Annotated[
    Path | None,
    Option(
        "--list",
        help="Restore the files that this file names, one on a line; - is standard input.",
        rich_help_panel=FILES,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume", help="Go on where the same command was interrupted.", rich_help_panel=FILES
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace OUTPUT.", rich_help_panel=FILES)
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print what was done as JSON; of several files one line for each.",
        rich_help_panel=FILES,
    ),
]
Drop = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out audio, subtitle, data, attachment or video streams.", rich_help_panel=FILES
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Options for phone, drone, camcorder or webcam, or of your own; others given win.",
        show_default=False,
        is_eager=True,
        callback=presets.use,
        rich_help_panel=PICTURE,
    ),
]
Strength = Annotated[
    str,
    typer.Option(
        help="0 leaves the picture as it is, 1 restores it fully; auto restores each region "
        "as far as it is blurred.",
        rich_help_panel=PICTURE,
    ),
]
Stabilize = Annotated[
    bool,
    typer.Option(
        "--stabilize", help="Take the camera's shaking out of the picture.", rich_help_panel=PICTURE
    ),
]
Crop = Annotated[
    float,
    typer.Option(
        help="The share of width and height that --stabilize gives up, up to 0.5.",
        rich_help_panel=PICTURE,
    ),
]
Upscale = Annotated[
    str | None,
    typer.Option(
        help="Enlarge: a factor in 1..4 such as 3 or 1.5, a height such as 1080p, or a size "
        "such as 1920x1080.",
        show_default=False,
        rich_help_panel=PICTURE,
    ),
]
Upscaler = Annotated[
    str,
    typer.Option(
        help="What enlarges: auto (x3-lite on a CPU, x3 on a GPU), a .safetensors file, "
        "lanczos or bicubic.",
        rich_help_panel=PICTURE,
    ),
]
Deinterlace = Annotated[
    str,
    typer.Option(help="auto (frames flagged as interlaced), on or off.", rich_help_panel=PICTURE),
]
ApplyRotation = Annotated[
    bool,
    typer.Option(
        "--apply-rotation",
        help="Turn the pictures upright instead of saying how.",
        rich_help_panel=PICTURE,
    ),
]
Codec = Annotated[
    str | None,
    typer.Option(
        help="h264, hevc, av1, vp9, vp8, prores or ffv1; the source's by default.",
        rich_help_panel=CODING,
    ),
]
Quality = Annotated[
    int | None,
    typer.Option(
        help="CRF of the encoder, lower is better; visually lossless by default.",
        rich_help_panel=CODING,
    ),
]
EncoderPreset = Annotated[
    str | None,
    typer.Option(help="The encoder's own preset, such as fast or slow.", rich_help_panel=CODING),
]
Tile = Annotated[
    int | None,
    typer.Option(
        help="Largest side restored in one piece; smaller needs less memory.",
        rich_help_panel=MACHINE,
    ),
]
ProgressKind = Annotated[
    str,
    typer.Option(
        rich_help_panel=LOOKING,
        help="auto (a bar, on a terminal), json (lines of JSON on stderr, two a second) or off.",
    ),
]
Form = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="y4m|nut|mkv|raw",
        help="What is written to a pipe: y4m by default; nut and mkv keep times and sound.",
        show_default=False,
        rich_help_panel=PIPES,
    ),
]
Images = Annotated[
    bool,
    typer.Option(
        "--sequence",
        help="A name with a pattern such as shot%04d.png is a sequence of images.",
        rich_help_panel=PIPES,
    ),
]
Trial = Annotated[
    str | None,
    Option(
        "--try",
        metavar="TIME",
        help="Restore only so much, such as 3s from the middle (or from --start), with three "
        "settings, and show them beside each other on a page.",
        show_default=False,
        rich_help_panel=LOOKING,
    ),
]
