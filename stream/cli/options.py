"""Options that several commands take."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stream.options.reading import Span

# What cannot be read is said in the program's own words, with its own exit code.
Argument = partial(typer.Argument, readable=False)
Option = partial(typer.Option, readable=False)

USUAL_PORT = 9555
"""Of the preview; it gives way to any other one where it is taken."""

Model = Annotated[
    str,
    typer.Option(
        help="A model's name (see `deblur models`), a .safetensors file, or none: fusion alone. "
        "auto leaves the network out where it would take more than a quarter of fusion's time."
    ),
]
LiveModel = Annotated[
    str,
    typer.Option(
        help="A model's name (see `deblur models`), a .safetensors file, or none: fusion alone."
    ),
]
Fuse = Annotated[
    int,
    typer.Option(
        min=0,
        max=5,
        help="With how many frames before and after it each one is fused, which takes what is "
        "sharp from where it is sharp; 0: with none.",
    ),
]
Smooth = Annotated[
    float | None,
    typer.Option(
        help="How much of the noise is averaged away over the frames that are fused: 0 nothing, "
        "up to 1; 0.8 unless --strength is 0.",
        show_default=False,
    ),
]
Shutter = Annotated[
    str,
    typer.Option(
        help="For how long the camera's shutter is open at each frame, which decides how much of "
        "the motion is blur: 1/60 (seconds), 180deg (half of the frame interval), or auto, told by "
        "the pictures."
    ),
]
MaxPixels = Annotated[
    int, typer.Option(help="Refuse larger frames (a small file can claim a huge picture).")
]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:1 or mps; or several GPUs, such as cuda:0,cuda:1."),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What runs the networks: auto, eager (PyTorch as it is), openvino (on a CPU), cuda "
        "(on a GPU; takes minutes to compile kernels for each size of pictures first) or onnx "
        "(ONNX Runtime, with the first of its providers that works or such as onnx:CoreML)."
    ),
]
Precision = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16, inside the network.")
]
Decoder = Annotated[
    str,
    typer.Option(
        help="auto, software or cuda (the GPU's own decoder): what decodes. auto takes the GPU's "
        "where the network runs on it and it gives the same pictures."
    ),
]
Encoder = Annotated[
    str,
    typer.Option(
        help="auto (software), software or nvenc (an NVIDIA GPU's h264, hevc and av1 encoders)."
    ),
]
Preview = Annotated[
    int | None,
    typer.Option(
        metavar="[PORT]",
        help="Show before and after in a browser, at this port of 127.0.0.1; 9555 by default.",
        show_default=False,
    ),
]
PreviewHost = Annotated[
    str,
    typer.Option(
        metavar="HOST",
        help="Serve the preview at this address; beyond this machine only with a password of "
        "yours in DEBLUR_TOKEN.",
    ),
]


Start = Annotated[
    str, typer.Option(metavar="TIME", help="Begin here: seconds, or such as 1:30 or 0:01:30.5.")
]
Duration = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Work on as much only.", show_default=False),
]

Size = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="The input is raw video of this size, such as 1920x1080.",
        show_default=False,
    ),
]
Rate = Annotated[
    str | None,
    typer.Option(
        help="Frames per second of raw video, such as 30 or 30000/1001; 25 by default.",
        show_default=False,
    ),
]
PixFmt = Annotated[
    str | None,
    typer.Option(
        help="FFmpeg's name of how raw video is stored; yuv420p by default.", show_default=False
    ),
]

_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d*)?)")
_SECONDS = re.compile(r"(\d+\.?\d*|\.\d+)(s|ms|us)?")
_UNITS = {None: 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def seconds(option: str, text: str) -> float:
    """A time as FFmpeg takes it: 90, 1.5s, 200ms, 1:30 or 0:01:30.5. Raises `UsageError`."""
    from stream.errors import UsageError

    if match := _SECONDS.fullmatch(text):
        return float(match[1]) * _UNITS[match[2]]
    match = _CLOCK.fullmatch(text)
    if match and int(match[2]) < 60 and float(match[3]) < 60:
        return 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3])
    raise UsageError(f"{option} takes seconds, or a time such as 1:30 or 0:01:30.5, got {text}")


def given(context: typer.Context) -> set[str]:
    """The options that were written on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


def without_effect(
    given: set[str],
    *,
    model: str,
    strength: float | str,
    fuse: int,
    smooth: float | None,
    upscale: str | None,
    stabilize: bool = False,
    several: bool = False,
    preview: bool = False,
    more: Mapping[str, tuple[bool, str]] | None = None,
) -> list[str]:
    """What is to be said of options that change nothing, beside the others.

    `more` are others, each with whether what it needs is there, and what that is.
    """
    network = model != "none" and strength != 0
    enlarges = upscale is not None
    needs = {
        "crop": (stabilize, "--stabilize"),
        "upscaler": (enlarges, "--upscale"),
        "fuse": (strength != 0 or bool(smooth), "--strength or --smooth above 0"),
        "smooth": (fuse > 0, "--fuse above 0"),
        "delay": (fuse > 0, "--fuse above 0"),
        "model": (strength != 0, "--strength above 0"),
        "shutter": (network, "a network and --strength above 0"),
        "precision": (network or enlarges, "a network"),
        "engine": (network or enlarges, "a network"),
        "tile": (network or enlarges, "a network"),
        "preview_host": (preview, "--preview"),
        "as_json": (not several, "a single file"),
        **(more or {}),
    }
    said = [
        f"--{'json' if name == 'as_json' else name.replace('_', '-')} has no effect without {what}"
        for name, (met, what) in needs.items()
        if name in given and not met
    ]
    restores = network or (fuse > 0 and (strength != 0 or bool(smooth)))
    if given & {"model", "fuse"} and not (restores or enlarges or stabilize):
        said.append("nothing is restored with these options: neither network nor fusion is used")
    return said


def with_ports(arguments: Sequence[str]) -> list[str]:
    """Arguments in which `--preview` has its port, which may be left out."""
    given: list[str] = []
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*given, *arguments[index:]]
        following = arguments[index + 1 : index + 2]
        bare = argument == "--preview" and not (following and following[0].isdigit())
        given.append(f"--preview={USUAL_PORT}" if bare else argument)
    return given


def span_of(start: str, duration: str | None) -> "Span":
    """What `--start` and `--duration` say. Raises `UsageError`."""
    import stream

    length = seconds("--duration", duration) if duration is not None else None
    return stream.Span(seconds("--start", start), length)
