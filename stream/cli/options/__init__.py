"""What is asked for on the command line.

Here: the options that several commands take. Beside it: those of one command, presets, and reading
what was typed. May import `stream.cli.terminal`, and exports what commands use.
"""

import functools
import inspect
from collections.abc import Callable
from functools import partial
from typing import Annotated

import typer

from stream.cli.terminal import be_verbose

# What cannot be read is said in the program's own words, with its own exit code.
Argument = partial(typer.Argument, readable=False)
Option = partial(typer.Option, readable=False)

FILES, PART, PICTURE = "Files", "Part of the video", "Picture"
CODING, MACHINE, PIPES = "Encoding", "Speed and memory", "Pipes, raw video and images"
LOOKING, MACHINES = "Looking at it", "Several machines"
"""Groups of `--help`."""

USUAL_PORT = 9555
"""Of the preview; it gives way to any other one where it is taken."""

Smooth = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=PICTURE,
        help="How much of the noise is averaged away over the frames that are fused: 0 nothing, "
        "up to 1; 0.8 unless --strength is 0.",
        show_default=False,
    ),
]
Shutter = Annotated[
    str,
    typer.Option(
        rich_help_panel=PICTURE,
        help="For how long the camera's shutter is open at each frame, which decides how much of "
        "the motion is blur: 1/60 (seconds), 180deg (half of the frame interval), or auto, told by "
        "the pictures.",
    ),
]
MaxPixels = Annotated[
    int,
    typer.Option(
        rich_help_panel=MACHINE,
        help="Refuse larger frames (a small file can claim a huge picture).",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        rich_help_panel=MACHINE,
        help="auto, cpu, cuda, cuda:1 or mps; or several GPUs, such as cuda:0,cuda:1.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        rich_help_panel=MACHINE,
        help="What runs the networks: auto, eager (PyTorch as it is), openvino (on a CPU), cuda "
        "(on a GPU; takes minutes to compile kernels for each size of pictures first) or onnx "
        "(ONNX Runtime, with the first of its providers that works or such as onnx:CoreML).",
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        rich_help_panel=MACHINE, help="auto, float32, bfloat16 or float16, inside the network."
    ),
]
Preview = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=LOOKING,
        metavar="[PORT]",
        help="Show before and after in a browser, at this port of 127.0.0.1; 9555 by default.",
        show_default=False,
    ),
]
PreviewHost = Annotated[
    str,
    typer.Option(
        rich_help_panel=LOOKING,
        metavar="HOST",
        help="Serve the preview at this address; beyond this machine only with a password of "
        "yours in DEBLUR_TOKEN.",
    ),
]


Start = Annotated[
    str,
    typer.Option(
        rich_help_panel=PART,
        metavar="TIME",
        help="Begin here: seconds, such as 1:30 or 0:01:30.5, or a frame such as f120.",
    ),
]
Duration = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=PART, metavar="TIME", help="Work on as much only.", show_default=False
    ),
]


Verbose = Annotated[
    bool,
    typer.Option(
        *("--verbose", "-v"),
        callback=be_verbose,
        is_eager=True,
        expose_value=False,
        help="Show all that the program's modules log, and the traceback of an unexpected error.",
    ),
]


def verbosely(command: Callable[..., None]) -> Callable[..., None]:
    """A command with `--verbose`, which it needs to know nothing of."""

    @functools.wraps(command)
    def called(*values: object, **named: object) -> None:
        named.pop("verbose", None)  # some versions of Typer hand on what is not exposed
        command(*values, **named)

    one = inspect.Parameter(
        "verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Verbose
    )
    own = inspect.signature(command)
    called.__annotations__ = command.__annotations__ | {"verbose": Verbose}
    vars(called)["__signature__"] = own.replace(parameters=[*own.parameters.values(), one])
    return called
