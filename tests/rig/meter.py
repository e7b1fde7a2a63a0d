"""A player that reads the stamps: how late each frame is, and what is missing.

python -m tests.rig.meter rtsp://127.0.0.1:8554/out --seconds 10 --camera 640x360
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import av
import numpy as np
from numpy.typing import NDArray

from tests.rig import stamp

Size = tuple[int, int]

WAIT_S = 20.0
"""How long a stream may take to begin; until then it is tried again."""
SILENT_S = 10.0
"""No frame for so long ends the measurement."""
SETTLE_S = 1.5
"""Not counted as latency: what lies in the buffers when a player starts."""
_LOUD = 0.1
LOW_LATENCY = {
    "fflags": "nobuffer",
    "flags": "low_delay",
    "probesize": "32",
    "analyzeduration": "0",
}


@dataclass
class Measured:
    """What came of a stream."""

    arrivals: list[float] = field(default_factory=list)
    """time.monotonic() of each frame."""
    timestamps: list[float | None] = field(default_factory=list)
    """The presentation time of each frame, in seconds."""
    sizes: list[Size] = field(default_factory=list)
    """Each size, once whenever it changes."""
    stamps: list[tuple[float, stamp.Stamp]] = field(default_factory=list)
    """When a stamp was read, and what it says."""
    latencies_ms: list[float] = field(default_factory=list)
    """Of each frame after the first `SETTLE_S`."""
    flashes: list[float] = field(default_factory=list)
    """The presentation times at which the lamp goes on."""
    beeps: list[float] = field(default_factory=list)
    """The presentation times at which a beep begins."""
    ended: str = ""
    """Why it ended before its time; empty where it did not."""

    @property
    def frames(self) -> int:
        """How many came, stamped or not."""
        return len(self.arrivals)

    @property
    def p50_ms(self) -> float:
        """The median latency."""
        return float(np.percentile(self.latencies_ms, 50))

    @property
    def p95_ms(self) -> float:
        """The latency that one frame in twenty exceeds."""
        return float(np.percentile(self.latencies_ms, 95))

    @property
    def missing(self) -> int:
        """Frames of the camera that did not come, between the first and the last that did."""
        counts = [seen.count for _, seen in self.stamps]
        # What goes back by much is another camera, or the same one started again.
        steps = [(after - before) % 65_536 for before, after in pairwise(counts)]
        return sum(step - 1 for step in steps if 0 < step < 32_768)

    @property
    def repeats(self) -> int:
        """Frames that show what the one before shows."""
        counts = [seen.count for _, seen in self.stamps]
        return sum(before == after for before, after in pairwise(counts))

    @property
    def backwards(self) -> int:
        """Frames whose presentation time is not after that of the one before."""
        timestamps = [timestamp for timestamp in self.timestamps if timestamp is not None]
        return sum(after <= before for before, after in pairwise(timestamps))

    @property
    def longest_s(self) -> float:
        """The longest wait from one frame to the next."""
        return max((after - before for before, after in pairwise(self.arrivals)), default=0.0)

    @property
    def offsets_s(self) -> list[float]:
        """How much later than its flash each beep is."""
        return [
            min((beep - flash for flash in self.flashes), key=abs)
            for beep in (self.beeps if self.flashes else [])
        ]


def measure(
    url: str,
    seconds: float,
    *,
    transport: str = "tcp",
    cameras: Sequence[Size] = (),
    options: dict[str, str] | None = None,
) -> Measured:
    """Play for so long after the first frame; `cameras` are the sizes that the camera may have.

    A picture larger than its camera's is taken as scaled to fit, with bars where it must; without
    `cameras` it has the camera's size.
    """
    found = Measured()
    end = time.monotonic() + WAIT_S
    while not found.frames and time.monotonic() < end:
        found = Measured()
        try:
            _play(
                url,
                seconds,
                {"rtsp_transport": transport, **(options or LOW_LATENCY)},
                cameras,
                found,
            )
        except (av.error.FFmpegError, OSError) as error:
            found.ended = error.strerror or type(error).__name__
            time.sleep(0.1)
    return found


def _play(
    url: str, seconds: float, options: dict[str, str], cameras: Sequence[Size], found: Measured
) -> None:
    with av.open(url, options=options, timeout=(WAIT_S, SILENT_S)) as source:
        streams = [*source.streams.video[:1], *source.streams.audio[:1]]
        bright = loud = True
        heard = 0.0
        for packet in source.demux(streams):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue  # before the first key frame, or damaged
            for frame in frames:
                now = time.monotonic()
                if isinstance(frame, av.VideoFrame):
                    bright = _look(frame, now, cameras, bright, found)
                elif isinstance(frame, av.AudioFrame) and frame.time is not None:
                    level = np.abs(frame.to_ndarray().astype(np.float32))
                    level /= 1.0 if frame.format.name.startswith("flt") else 32_768.0
                    at = np.flatnonzero(level.max(axis=0) > _LOUD)
                    if at.size:
                        began = frame.time + at[0] / frame.sample_rate
                        if not loud or began - heard > 0.5:
                            found.beeps.append(began)
                        heard = began
                    loud = bool(at.size)
            if found.frames and time.monotonic() - found.arrivals[0] > seconds:
                return
    found.ended = "end of stream"


def _look(
    frame: av.VideoFrame, now: float, cameras: Sequence[Size], bright: bool, found: Measured
) -> bool:
    """Note a frame; returns whether its lamp is lit."""
    size = frame.width, frame.height
    found.arrivals.append(now)
    found.timestamps.append(frame.time)
    if not found.sizes or found.sizes[-1] != size:
        found.sizes.append(size)
    plane = frame.planes[0]
    luma: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    luma = luma.reshape(plane.height, -1)[:, : plane.width]
    for camera in cameras or [size]:
        place = stamp.fitted(camera, size)
        seen = stamp.read(luma, *place)
        if seen is None:
            continue
        found.stamps.append((now, seen))
        if now - found.arrivals[0] > SETTLE_S:
            found.latencies_ms.append(float(seen.age_ms))
        lit = stamp.lit(luma, *place)
        if lit and not bright and frame.time is not None:
            found.flashes.append(frame.time)
        return lit
    return bright


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--transport", choices=("tcp", "udp"), default="tcp")
    parser.add_argument("--camera", action="append", default=[], help="its size, such as 640x360")
    options = parser.parse_args()
    cameras = [(int(w), int(h)) for w, h in (size.split("x") for size in options.camera)]
    got = measure(options.url, options.seconds, transport=options.transport, cameras=cameras)
    sys.stdout.write(
        f"{got.frames} frames, {len(got.stamps)} read, {got.missing} missing, {got.repeats} "
        f"repeated, {got.backwards} backwards, longest wait {got.longest_s:.2f} s, "
        f"sizes {got.sizes}\n"
    )
    if got.latencies_ms:
        sys.stdout.write(f"latency p50 {got.p50_ms:.0f} ms, p95 {got.p95_ms:.0f} ms\n")
    if got.offsets_s:
        sys.stdout.write(f"sound late by {1000 * float(np.median(got.offsets_s)):.0f} ms\n")
    sys.exit(got.ended or 0)


if __name__ == "__main__":
    main()
