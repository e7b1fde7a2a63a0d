"""Options that several commands take."""

from typing import Annotated

import typer

Model = Annotated[
    str, typer.Option(help="A model's name (see `deblur models`) or a .safetensors file.")
]
Smooth = Annotated[
    float | None,
    typer.Option(
        help="How much frames are steadied by the ones before: 0 not at all, up to 1; 0.8 "
        "unless --strength is 0.",
        show_default=False,
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
