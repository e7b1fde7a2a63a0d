"""Live video as a webcam of this machine, for whatever program looks at one."""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stream.errors import SinkError, UsageError
from stream.ipc.child import Control
from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import Sound, SoundFormat
from stream.live.output.writer import PlainTarget

_LOOPBACK = Path("/sys/devices/virtual/video4linux")
"""Where Linux lists the cameras that are no hardware."""
_REMEDY = (
    "install v4l2loopback (on Debian: apt-get install v4l2loopback-dkms) "
    "and load it: modprobe v4l2loopback"
)


@dataclass(frozen=True)
class VirtualCamera(PlainTarget):
    """A virtual webcam: a device of v4l2loopback, or the camera of OBS on other systems."""

    device: str = ""
    """Empty: the first one there is."""
    resizes = False
    square = True
    repeats = True

    def __post_init__(self) -> None:
        if find_spec("pyvirtualcam") is None:
            raise UsageError(
                "camera: needs the package pyvirtualcam; "
                "install it with pip install 'deblur-stream[camera]'"
            )
        if sys.platform != "linux":
            return
        if self.device and not Path(self.device).is_char_device():
            raise SinkError(f"there is no {self.device}; {_REMEDY}")
        if not self.device and not (_LOOPBACK.is_dir() and any(_LOOPBACK.iterdir())):
            raise SinkError(f"there is no virtual webcam; {_REMEDY}")

    @property
    def name(self) -> str:
        """As it can be shown."""
        return f"camera:{self.device}"

    def takes(self, sound: SoundFormat) -> bool:
        """There is no sound in it."""
        return True

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> "Showing":
        """Open the device. Raises `OSError`."""
        return Showing(self.device, first)


class Showing:
    """A virtual webcam that is open; it has no sound."""

    readers = refused = 0

    def __init__(self, device: str, first: Picture) -> None:
        from pyvirtualcam import Camera, PixelFormat

        try:
            self._camera = Camera(
                *first.size, max(1, first.rate), fmt=PixelFormat.I420, device=device or None
            )
        except RuntimeError as error:
            raise OSError(f"the virtual webcam cannot be used: {error}") from error

    def push(self, picture: Picture) -> None:
        """Show one picture."""
        self._camera.send(picture.data)

    def sound(self, sound: Sound) -> None:
        """Take no sound."""

    def close(self) -> None:
        """Let the device go."""
        self._camera.close()
