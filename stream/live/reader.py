"""The process of the camera: connects, decodes at once, and connects again for ever."""

import errno
import time

import av
import av.container
import av.error

from stream.errors import SourceError
from stream.live.camera import Camera
from stream.live.child import Control
from stream.live.link import LateError, Link, StoppedError
from stream.live.moments import Moments
from stream.live.patience import Patience
from stream.live.picture import Mailbox
from stream.live.pulse import Pulse
from stream.live.session import LostError, Session, Sink
from stream.live.settings import LiveSettings
from stream.live.sound import SoundRing
from stream.live.writer import reason

_LOOK_UP_S = 60.0
"""For looking up a name, which has no time limit of ours, and asking whether anybody is there."""
_PLAYLISTS = {"hls", "concat", "dash", "sdp", "webvtt", "ffmetadata", "tty"}
"""Text formats, of which the first ones would make FFmpeg open other files."""
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPUnauthorizedError, "the login was refused (401); check user and password"),
    (av.error.HTTPForbiddenError, "it is forbidden (403); check what this user may see"),
    (av.error.HTTPNotFoundError, "there is nothing at this address (404); check the path"),
    (av.error.ConnectionRefusedError, "connection refused"),
    (av.error.ExitError, "it does not answer"),
    (av.error.TimeoutError, "it does not answer"),
    (av.error.EOFError, "it closed the connection"),
    (av.error.InvalidDataError, "what it sends is not video"),
    (av.error.FileNotFoundError, "there is no such device; is it plugged in?"),
)
_LOGIN = av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError


def read(
    control: Control, camera: Camera, settings: LiveSettings, box: Mailbox, sounds: SoundRing
) -> None:
    """The work of the reader's process, until it is told to stop or its file is over.

    Raises `SourceError` for a file that is no video.
    """
    _Reader(control, camera, settings, box, sounds).run()


class _Reader:
    def __init__(
        self,
        control: Control,
        camera: Camera,
        settings: LiveSettings,
        box: Mailbox,
        sounds: SoundRing,
    ) -> None:
        self._camera = camera
        self._loop = settings.loop
        self._pulse = Pulse(control)
        self._sink = Sink(box, sounds, Moments(), settings.max_pixels)
        self._patience = Patience(camera.address)
        self._told: set[str] = set()
        """Why there is no connection, as far as it was said since there was one."""

    def run(self) -> None:
        """Work until told to stop."""
        try:
            while not self._pulse.tick():
                self._try()
                if not self._camera.live and not self._loop:
                    self._pulse.state = "ended"
                    break
        except StoppedError:
            pass
        self._pulse.tell(now=True)

    def _try(self) -> None:
        """Connect, pass on what comes, and wait until it is time to try again."""
        before, begun = self._pulse.frames, time.monotonic()
        error: Exception
        try:
            self._connect()
            error = LostError("the connection ended")
        except (LostError, av.error.FFmpegError, OSError, IndexError, ValueError) as caught:
            # PyAV raises IndexError where a stream appears on the way.
            error = caught
        worked = self._pulse.frames > before
        if self._camera.live:
            self._failed(error, time.monotonic() - begun if worked else None)
        elif not worked:
            raise SourceError(f"{self._camera.shown}: {_words(error)}") from None

    def _connect(self) -> None:
        """Connect, and pass on what comes until nothing comes any more."""
        camera = self._camera
        opened: list[av.container.InputContainer] = []

        def open_() -> av.container.InputContainer:
            opened.append(
                av.open(
                    camera.url,
                    format=camera.format,
                    options=dict(camera.options),
                    timeout=(camera.open_s, camera.stall_s + 1),
                    metadata_errors="replace",
                )
            )
            return opened[0]

        def close() -> None:
            for container in opened:
                container.close()

        with Link(self._pulse.tick, close) as link:
            try:
                container = link.call(open_, camera.open_s)
            except LateError:
                raise LostError("it does not answer") from None
            if not camera.live and set(container.format.name.split(",")) & _PLAYLISTS:
                raise LostError("it is a text or playlist file, not a video")
            self._sink.moments.renew()
            quiet = not camera.live and self._pulse.frames > 0
            Session(camera, container, link, self._pulse, self._sink, quiet=quiet).run()

    def _failed(self, error: Exception, worked_s: float | None) -> None:
        """Say why there is no picture any more, and wait until it is time to try again."""
        if worked_s is not None:
            self._patience.worked(worked_s)
            self._told.clear()
        login = isinstance(error, _LOGIN)
        delay = self._patience.failed(login=login)
        why = _words(error)
        if getattr(error, "errno", None) == errno.EIO and self._camera.address and worked_s is None:
            # What FFmpeg says of names that nobody knows, and of certificates.
            why = "it cannot be reached; is the name right, and the network up?"
            if self._camera.kind.endswith("s"):
                why += " If its certificate is not signed, allow that with --insecure-tls"
        if why not in self._told:
            self._told.add(why)
            now = "no connection to the camera" if worked_s is None else "the camera is lost"
            again = "trying again, but rarely" if login else "trying again"
            self._pulse.control.say(f"{now}: {why}; {again}")
        self._pulse.pause(delay)
        while not self._reachable():
            self._patience.returned()
            self._pulse.pause(self._patience.until_probe())
        self._pulse.state = "connecting"

    def _reachable(self) -> bool:
        with Link(self._pulse.tick, lambda: None) as link:
            return link.call(self._patience.reachable, _LOOK_UP_S)


def _words(error: Exception) -> str:
    """What went wrong, without the address that FFmpeg's errors carry."""
    if isinstance(error, LostError):
        return str(error)
    return next((words for kind, words in _WORDS if isinstance(error, kind)), reason(error))
