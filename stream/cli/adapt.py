"""`deblur adapt`."""

from pathlib import Path
from typing import Annotated

import typer

from stream.cli.options import Argument
from stream.cli.terminal import reported, say


def adapt(
    clip: Annotated[Path, Argument(help="The video to learn from.", show_default=False)],
    name: Annotated[
        str,
        typer.Option(help="The name that --model then takes.", show_default=False),
    ],
    model: Annotated[str, typer.Option(help="The model to begin with.")] = "lite",
    steps: Annotated[
        int, typer.Option(min=1, help="Training steps; each takes 0.4 s on a core.")
    ] = 300,
    shutter: Annotated[
        str, typer.Option(help="That of the camera: 1/60, 180deg, or auto.")
    ] = "auto",
) -> None:
    """Train a model a little more on one video, for `deblur run --model NAME` of that video."""
    from stream.compute.models import check_name, load_model, preset_of, store
    from stream.errors import CancelledError
    from stream.options.exposure import Exposure
    from stream.paths import check_input
    from weights.train.adapting import Seen, adapt
    from weights.train.loop import StoppedError

    def seen(found: Seen) -> None:
        say(
            f"{found.pictures} frames to learn from, motion of up to {found.way:.0f} px a frame, "
            f"shutter open for {100 * found.share:.0f} % of it; {steps} steps"
        )

    with reported():
        check_input(clip)
        check_name(name)
        file, preset = preset_of(model)
        restore = load_model(model)
        try:
            tensors = adapt(
                clip, preset, file, restore, steps=steps, exposure=Exposure(shutter), on_seen=seen
            )
        except StoppedError:
            raise CancelledError("stopped; nothing was stored") from None
        stored = store(name, tensors, preset=preset, about=f"{model} adapted to {clip.name}")
    say(f"{stored.name} -> {stored.file}; use it with --model {stored.name}")
