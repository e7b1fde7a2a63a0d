"""`python -m tests.trials.flash`: sound stays with the picture from the first minute to the last.

    python -m tests.trials.flash --minutes 10
    python -m tests.trials.flash --minutes 2 --model lite

Draws a clip whose frames come at irregular moments and where every five seconds a frame is white
while a beep begins, at exactly that frame's moment. The clip goes through `deblur run`, and what a
viewer sees and hears is measured in what was decoded of input and output.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer
from numpy.typing import NDArray

from tests.trials.media import RATE, moving, open_file, timestamps, visible, write
from tests.trials.runner import console, deblur, load, run

SIZE = (160, 96)
EVERY_S = 5
BEEP_S = 0.05
ALLOWED_MS = {".mp4": 0.1, ".mkv": 1.5}
"""Matroska rounds the moments of frames, of sound, and of the start of both, to milliseconds."""


def make(path: Path, minutes: float, seed: int) -> None:
    """Draw the clip: a bar that moves on gray, white frames, and beeps in silence."""
    shown = np.array(timestamps(minutes * 60, seed))
    due = np.arange(1, minutes * 60, EVERY_S) * RATE
    flashes = shown[np.searchsorted(shown, due)]
    sound = np.zeros(int(minutes * 60 * RATE), np.float32)
    beep = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(int(BEEP_S * RATE)) / RATE)
    for start in flashes:
        part = sound[start : start + len(beep)]
        part[:] = beep[: len(part)]
    write(path, _pictures(shown, set(flashes.tolist())), sound, size=SIZE)


def _pictures(shown: NDArray[np.int64], white: set[int]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    width, height = SIZE
    for index, timestamp in enumerate(shown.tolist()):
        picture = np.full((height, width, 3), 255 if timestamp in white else 50, np.uint8)
        picture[:, index % width : index % width + 8] = (20, 90, 60)
        yield timestamp, picture


@dataclass(frozen=True)
class Events:
    """When the white frames are shown and the beeps begin, in seconds."""

    flashes: NDArray[np.float64]
    beeps: NDArray[np.float64]

    @property
    def offsets_ms(self) -> NDArray[np.float64]:
        """How long after its flash each beep begins."""
        return (self.beeps - self.flashes) * 1000


def measure(path: Path) -> Events:
    """What a viewer sees and hears of a clip. Raises `ValueError` if flashes lack beeps."""
    flashes: list[float] = []
    blocks: list[tuple[Fraction, NDArray[np.float32]]] = []
    with open_file(path) as container:
        was_white = False
        for frame in container.decode(moving(container)[0], container.streams.audio[0]):
            assert isinstance(frame, av.VideoFrame | av.AudioFrame)
            timestamp = (frame.pts or 0) * Fraction(frame.time_base or 1)
            if isinstance(frame, av.AudioFrame):
                blocks.append((timestamp, frame.to_ndarray()[0]))
                continue
            white = bool(visible(frame.planes[0], frame).mean() > 150)
            if white and not was_white:
                flashes.append(float(timestamp))
            was_white = white
    beeps = _onsets(blocks)
    if len(flashes) != len(beeps) or not flashes:
        raise ValueError(f"{path.name} has {len(flashes)} flashes and {len(beeps)} beeps")
    return Events(np.array(flashes), np.array(beeps))


def _onsets(blocks: list[tuple[Fraction, NDArray[np.float32]]]) -> list[float]:
    """When it becomes loud: the mean over a millisecond reaches half of the largest one."""
    window = RATE // 1000
    # Each block stands where its own timestamp says, so that a gap or a jump is not hidden.
    starts = [round(timestamp * RATE) for timestamp, _ in blocks]
    base = min(starts)
    sound = np.zeros(max(s + len(b) for s, (_, b) in zip(starts, blocks, strict=True)) - base)
    for start, (_, samples) in zip(starts, blocks, strict=True):
        sound[start - base : start - base + len(samples)] = np.abs(samples)
    loud = np.convolve(sound, np.ones(window) / window, mode="valid")
    above = np.flatnonzero(loud > loud.max() / 2)
    first = above[np.diff(above, prepend=-RATE) > RATE // 2]
    return [float(place + base) / RATE for place in first]


def main(
    minutes: Annotated[float, typer.Option(help="Length of the clip.")] = 10.0,
    model: Annotated[str, typer.Option(help="A model's name; none: --strength 0.")] = "",
    seed: Annotated[int, typer.Option(help="Of the frames' moments.")] = 1,
) -> None:
    """Print the offsets of beeps from flashes, and end with 1 if any changed."""
    load()
    words = ("--model", model) if model else ("--strength", "0")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="flash-") as name:
        folder = Path(name)
        for source in (folder / "in.mp4", folder / "in.mkv"):
            make(source, minutes, seed)
            before = measure(source)
            _tell(source.name, before)
            for ending in (".mp4", ".mkv"):
                output = folder / f"{source.suffix[1:]}{ending}"
                done = run(deblur("run", source, output, *words), watch=folder, limit_s=7200)
                if done.code or done.killed:
                    console.print(f"{source.name} to {ending}: {done.killed or done.said.strip()}")
                    bad += 1
                    continue
                bad += not _same(source.name, before, output, measure(output))
    console.print("sound stays with the picture" if not bad else f"{bad} outputs are wrong")
    raise typer.Exit(int(bool(bad)))


def _same(source: str, before: Events, output: Path, after: Events) -> bool:
    """Tell of an output, and say whether its sound is where the input's was."""
    _tell(f"{source} to {output.suffix}", after)
    if len(after.flashes) != len(before.flashes):
        console.print(f"  FAULT {len(after.flashes)} flashes, {len(before.flashes)} in the input")
        return False
    change = np.abs(after.offsets_ms - before.offsets_ms).max()
    moved = (after.flashes - before.flashes) * 1000
    # Matroska starts at zero, so sound that is decoded from before zero on moves all streams.
    drift = np.abs(moved - moved[0]).max()
    console.print(
        f"  largest change {change:.3f} ms; all moved by {moved[0]:.3f} ms, and from there "
        f"by up to {drift:.3f} ms"
    )
    if max(change, drift) > ALLOWED_MS[output.suffix]:
        console.print(f"  FAULT more than {ALLOWED_MS[output.suffix]} ms")
        return False
    return True


def _tell(name: str, events: Events) -> None:
    offsets = events.offsets_ms
    console.print(
        f"{name}: {len(offsets)} flashes; beep after flash: first {offsets[0]:.3f} ms, "
        f"last {offsets[-1]:.3f} ms, from {offsets.min():.3f} to {offsets.max():.3f} ms"
    )


if __name__ == "__main__":
    typer.run(main)
