"""`python -m tests.trials.shake`: how much the camera shakes in a video, and in what became of it.

    python -m tests.trials.shake shaky.mp4 shaky.deblurred.mp4

For each file it prints how far the picture moves from frame to frame, at its center and by turning,
as root mean squares: in all, and of the shaky part alone. That is what is left of the path when a
low-pass is taken off, the mean over a second either way with weights of Gauss, standard deviation
0.5 s: even motion is not counted, and what swings faster than about once in two seconds is. The
first and the last second, which have no such mean, do not count.

The motion is found by dense optical flow, where `--stabilize` follows corners. Both files should
show one shot. Ends with 0 where the shaky part fell to at most half.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import av
import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table

from tests.trials.media import moving, open_file
from tests.trials.runner import console

LOW_PASS_S, REACH_S = 0.5, 1.0
HALVED = 0.5
LONGEST = 960
"""Larger pictures are halved; figures are in pixels of the file all the same."""
GRID = 8
"""Pixels from one place that is looked at to the next."""
TEXTURED = 0.4
"""The share of places that is looked at: where there is most to see."""
ERROR = 1.0
"""Pixels of error at which a place counts for a quarter."""


@dataclass(frozen=True)
class Shake:
    """Root mean squares from frame to frame."""

    frames: int
    motion: float
    """Pixels at the center."""
    shaky: float
    """Of this, what is left after the low-pass."""
    turn: float
    """Degrees."""
    shaky_turn: float


def measure(path: Path, seconds: float | None = None) -> Shake:
    """How a video moves. Raises `ValueError` where it is too short for the low-pass."""
    steps: list[tuple[complex, float]] = []
    timestamps: list[float] = []
    before: NDArray[np.uint8] | None = None
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    with open_file(path) as container:
        for frame in container.decode(moving(container)[0]):
            assert isinstance(frame, av.VideoFrame)
            if seconds is not None and timestamps and (frame.time or 0) >= timestamps[0] + seconds:
                break
            timestamps.append(frame.time or 0.0)
            gray = frame.to_ndarray(format="gray")
            factor = 1
            while max(gray.shape) > LONGEST * factor:
                factor *= 2
            size = gray.shape[1] // factor, gray.shape[0] // factor
            now = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)
            if before is not None:
                found: Any = flow.calc(before, now, None)  # type: ignore[call-overload]
                shift, turn = _whole(before, found)
                steps.append((shift * factor, turn))
            before = now
    rate = len(steps) / max(timestamps[-1] - timestamps[0], 1e-9) if steps else 0.0
    if len(steps) < 2 * REACH_S * rate + 2 or not steps:
        raise ValueError(f"{path.name} is too short, it must last more than {2 * REACH_S:g} s")
    shifts, turns = (np.array(each) for each in zip(*steps, strict=True))
    degrees = np.degrees(turns)
    return Shake(
        frames=len(timestamps),
        motion=_rms(shifts),
        shaky=_rms(_quick(shifts, rate)),
        turn=_rms(degrees),
        shaky_turn=_rms(_quick(degrees, rate)),
    )


def _whole(before: NDArray[np.uint8], flow: NDArray[np.float32]) -> tuple[complex, float]:
    """The shift of the center, and the turn, of a flow as a whole, as most of its places say."""
    height, width = before.shape
    rows, columns = (np.arange(2 * GRID, side - 2 * GRID, GRID) for side in before.shape)
    edges = np.asarray(cv2.cornerMinEigenVal(before, 9))[np.ix_(rows, columns)]
    seen = edges > np.quantile(edges, 1 - TEXTURED)
    place = (columns - (width - 1) / 2 + 1j * (rows[:, None] - (height - 1) / 2))[seen]
    move = (flow @ np.array([1, 1j]))[np.ix_(rows, columns)][seen]
    left = np.column_stack([place, np.ones_like(place)])
    shift, slope = complex(np.median(move.real), np.median(move.imag)), 0j
    for _ in range(20):
        error = np.abs(move - slope * place - shift)
        weight = 1 / (1 + (error / ERROR) ** 2)
        slope, shift = np.linalg.lstsq(left * weight[:, None], move * weight, rcond=None)[0]
    return complex(shift), float(slope.imag)


def _quick(steps: NDArray[Any], rate: float) -> NDArray[Any]:
    """The steps of what is left of a path after the low-pass, at so many frames per second."""
    path = np.concatenate([[0], np.cumsum(steps)])
    reach = round(REACH_S * rate)
    kernel = np.exp(-((np.arange(-reach, reach + 1) / (LOW_PASS_S * rate)) ** 2) / 2)
    mean = np.convolve(path, kernel / kernel.sum(), mode="valid")
    return np.diff(path[reach:-reach] - mean)


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.abs(values) ** 2)))


def main(
    input: Annotated[Path, typer.Argument(help="The video.")],
    output: Annotated[Path, typer.Argument(help="What was made of it.")],
    seconds: Annotated[float | None, typer.Option(help="Look at so much of each alone.")] = None,
) -> None:
    """Print how both move, and end with 1 unless the shaky part was halved."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("", "frames", "motion px", "shaky part px", "turn deg", "shaky part deg"):
        table.add_column(column)
    before, after = measure(input, seconds), measure(output, seconds)
    for name, shake in ((input.name, before), (output.name, after)):
        figures = (shake.motion, shake.shaky, shake.turn, shake.shaky_turn)
        table.add_row(name, str(shake.frames), *(f"{figure:.3f}" for figure in figures))
    console.print(table)
    ratio = after.shaky / before.shaky
    turning = after.shaky_turn / before.shaky_turn
    console.print(f"the shaky part is {ratio:.2f} of what it was, of turning {turning:.2f}")
    raise typer.Exit(int(ratio > HALVED))


if __name__ == "__main__":
    typer.run(main)
