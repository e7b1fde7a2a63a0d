"""Options that several commands take."""

from collections.abc import Sequence
from typing import Annotated

import typer

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
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:1 or mps; or several GPUs, such as cuda:0,cuda:1."),
]
Engine = Annotated[
    str,
    typer.Option(
        help="What runs the networks: auto, eager (PyTorch as it is), openvino (on a CPU) or cuda "
        "(on a GPU; takes minutes to compile kernels for each size of pictures first)."
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
