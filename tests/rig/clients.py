"""Players that are not ours: ffmpeg, GStreamer and OpenCV, and a reader that never reads."""

import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.rig.meter import WAIT_S

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Played:
    """What a player got."""

    arrivals: tuple[float, ...]
    """Seconds from its start to each frame."""
    said: str
    """All of stderr."""
    lines: tuple[bytes, ...] = ()
    """What the player printed for each frame."""
    ended: bool = False
    """Whether it ended by itself, before it was told to."""

    @property
    def frames(self) -> int:
        """How many were decoded."""
        return len(self.arrivals)

    @property
    def longest_s(self) -> float:
        """The longest wait from one frame to the next."""
        return max((after - before for before, after in pairwise(self.arrivals)), default=0.0)


def ffmpeg(url: str, seconds: float, transport: str = "tcp") -> Played:
    """Play the video with the ffmpeg command for so long after its first frame."""
    command = ["ffmpeg", "-nostdin", "-v", "warning", "-rtsp_transport", transport, "-i", url]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-flush_packets", "1"]
    return watched([*command, "-f", "framemd5", "-"], seconds, lambda line: line[:2] == b"0,")


def gstreamer(url: str, seconds: float, transport: str = "tcp") -> Played:
    """Play the video with gst-launch-1.0 for so long after its first frame."""
    command = ["gst-launch-1.0", "-v", "rtspsrc", f"location={url}", f"protocols={transport}"]
    command += ["!", "application/x-rtp,media=video", "!", "decodebin"]
    command += ["!", "fakesink", "silent=false", "sync=false"]
    return watched(command, seconds, lambda line: b"last-message = chain" in line)


def opencv(url: str, seconds: float, transport: str = "tcp") -> Played:
    """Play the video with OpenCV's VideoCapture for so long after its first frame."""
    command = [sys.executable, "-m", "tests.rig.play_opencv", url]
    how = {"OPENCV_FFMPEG_CAPTURE_OPTIONS": f"rtsp_transport;{transport}"}
    return watched(command, seconds, lambda line: line.startswith(b"frame"), how)


PLAYERS: dict[str, Callable[[str, float, str], Played]] = {
    "ffmpeg": ffmpeg,
    "gstreamer": gstreamer,
    "opencv": opencv,
}


def watched(
    command: list[str],
    seconds: float,
    is_frame: Callable[[bytes], bool],
    environment: dict[str, str] | None = None,
    patience_s: float = WAIT_S,
) -> Played:
    """Run a player that prints a line for each frame, for so long after the first one."""
    begun = time.monotonic()
    end = begun + patience_s
    arrivals: list[float] = []
    frames: list[bytes] = []
    ended = False
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | (environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
        ) as player,
    ):
        assert player.stdout is not None
        output, rest = player.stdout.fileno(), b""
        while (left := end - time.monotonic()) > 0:
            if not select.select([output], [], [], left)[0]:
                break
            data = os.read(output, 65_536)
            if not data:
                ended = True
                break
            now = time.monotonic()
            *lines, rest = (rest + data).split(b"\n")
            new = list(filter(is_frame, lines))
            if new and not arrivals:
                end = now + seconds
            arrivals += [now - begun] * len(new)
            frames += new
        player.kill()
        player.wait()
        said.seek(0)
        complaints = said.read().decode(errors="replace")
        return Played(tuple(arrivals), complaints, tuple(frames), ended)
