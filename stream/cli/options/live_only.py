"""Arguments and options of `deblur live` alone."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import LOOKING, MACHINE, PICTURE, Option
from stream.options.restore import MOST_DELAY, MOST_FUSE

CAMERA, OUTPUTS = "Camera", "Outputs"
"""Groups of `--help`, beside those that other commands have too."""

Model = Annotated[
    str,
    typer.Option(
        rich_help_panel=PICTURE,
        help="A model's name (see `deblur models`), a .safetensors file, or none: fusion alone.",
    ),
]
Source = Annotated[
    str | None,
    typer.Argument(
        help="webcam:0, /dev/video0, rtsp://..., http(s)://..., rtmp://..., screen:, testsrc:, "
        "a file with --realtime, or env:NAME for an address in an environment variable.",
        show_default=False,
    ),
]
Outputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[OUTPUT]...",
        help="serve:[HOST:]PORT/NAME, rtsp://... or rtmp://... to publish to, a file to record "
        "to, hls:FOLDER, camera: for a virtual webcam, or env:NAME; serve:8554/live by "
        "default.",
        show_default=False,
    ),
]
Strength = Annotated[
    float,
    typer.Option(
        rich_help_panel=PICTURE, help="0 leaves the picture as it is, 1 restores it fully."
    ),
]
Fuse = Annotated[
    int,
    typer.Option(
        rich_help_panel=PICTURE,
        min=0,
        max=MOST_FUSE,
        help="With how many frames before it each one is fused; 0: with none.",
    ),
]
Delay = Annotated[
    int,
    typer.Option(
        rich_help_panel=PICTURE,
        metavar="FRAMES",
        min=0,
        max=MOST_DELAY,
        help="Wait for so many frames, so that each one is fused with them too.",
    ),
]
Upscale = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PICTURE,
        help="Enlarge: a factor in 1..4, a height such as 1080p, or a size.",
        show_default=False,
    ),
]
Upscaler = Annotated[
    str,
    typer.Option(
        rich_help_panel=PICTURE,
        help="What enlarges: auto, a .safetensors file, lanczos or bicubic.",
    ),
]
MaxLatency = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=MACHINE,
        metavar="MS",
        help="Restore less well, step by step, where frames take longer than this.",
        show_default=False,
    ),
]
Transport = Annotated[
    str, typer.Option(rich_help_panel=CAMERA, help="tcp or udp, to RTSP sources and servers.")
]
Stall = Annotated[
    float,
    typer.Option(
        rich_help_panel=CAMERA, help="Connect again after so many seconds without a frame."
    ),
]
Realtime = Annotated[
    bool,
    typer.Option("--realtime", rich_help_panel=CAMERA, help="Play a file as if it were a camera."),
]
Loop = Annotated[
    bool, typer.Option("--loop", rich_help_panel=CAMERA, help="Play that file for ever.")
]
Size = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=OUTPUTS,
        metavar="WxH",
        help="The size of the outputs: they are up before the camera is. The first picture's "
        "by default.",
        show_default=False,
    ),
]
Segment = Annotated[
    float, typer.Option(rich_help_panel=OUTPUTS, help="Seconds of each file of a recording.")
]
Keep = Annotated[
    str,
    typer.Option(
        rich_help_panel=OUTPUTS,
        help="Delete recordings older than so many hours, or the oldest where all are larger "
        "than a size such as 200GB, or both: 48,200GB; 0 keeps all.",
    ),
]
InsecureTls = Annotated[
    bool, typer.Option("--insecure-tls", rich_help_panel=CAMERA, help="Do not check certificates.")
]
MaxPixels = Annotated[int, typer.Option(rich_help_panel=MACHINE, help="Refuse larger frames.")]
ConfigFile = Annotated[
    Path | None,
    Option(
        rich_help_panel=CAMERA,
        help="Restore the cameras that this file describes (see docs/cameras.md) instead of "
        "SOURCE; it is read again on SIGHUP.",
        show_default=False,
    ),
]
HttpAddress = Annotated[
    str, typer.Option(rich_help_panel=LOOKING, help="[HOST:]PORT of /healthz and /metrics, or off.")
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        rich_help_panel=LOOKING,
        metavar="ADDRESS",
        help="Tell this address when a camera is lost, back, too slow or in time again: "
        "https://... (gets JSON), mqtt://HOST/TOPIC, or env:NAME. Can be repeated.",
        show_default=False,
    ),
]
