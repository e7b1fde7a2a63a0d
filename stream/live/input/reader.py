"""The process of the camera: connects, decodes at once, and connects again for ever."""

import errno
import gc
import time
from collections.abc import Callable

import av
import av.container
import av.error
import av.logging

from stream.errors import SourceError, UsageError, reason
from stream.input.container.opening import main_video
from stream.ipc import memory
from stream.ipc.backoff import Backoff
from stream.ipc.child import Control
from stream.ipc.heartbeat import ReaderHeartbeat
from stream.ipc.mailbox import Mailbox
from stream.ipc.messages import State
from stream.ipc.sound_ring import SoundRing
from stream.ipc.timed_calls import ConnectionThread, LateError, StoppedError
from stream.live.input.camera import Camera
from stream.live.input.clock_mapping import ClockMapping
from stream.live.input.ffmpeg_log import Answers, Log, kept
from stream.live.input.session import Session, Sink
from stream.live.input.streams import LostError
from stream.options.live import LiveSettings
from stream.secrets import hidden, split_login

_LOOK_UP_S = 60.0
"""For looking up a name, which has no time limit of ours, and asking whether anybody is there."""
_MOST_REDIRECTS = 4
_MOST_MOVES = 8
"""Of the same by HTTP, where FFmpeg counts."""
_SHOWN = 200
"""Characters of an address that a camera names."""
_MOST_LOGGED = 2_000
"""Messages of FFmpeg that are kept while it opens."""
_MOST_TOLD = 20
"""Reasons why there is no connection; some carry words of the camera."""
_PLAYLISTS = {"hls", "concat", "dash", "sdp", "webvtt", "ffmetadata", "tty"}
"""Text formats, of which the first ones would make FFmpeg open other files."""
_ENDED = "the connection ended"
_OVER = "the stream has ended"
_LEAST_RECORDED = 500_000
"""Microseconds that what HTTP sends must last to be a recording: a still has a length as well."""
_NO_VIDEO = "what it sends is not video"
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (av.error.HTTPUnauthorizedError, "the login was refused (401); check user and password"),
    (av.error.HTTPForbiddenError, "it is forbidden (403); check what this user may see"),
    (av.error.HTTPNotFoundError, "there is nothing at this address (404); check the path"),
    (av.error.ConnectionRefusedError, "connection refused"),
    (av.error.ExitError, "it does not answer"),
    (av.error.TimeoutError, "it does not answer"),
    (av.error.EOFError, "it closed the connection"),
    (av.error.InvalidDataError, _NO_VIDEO),
    (av.error.FileNotFoundError, "there is no such device; is it plugged in?"),
    (MemoryError, "what it sends as one piece is larger than any picture may be; see --max-pixels"),
)
_STATUS = {
    453: "it has no bandwidth left (453); close another viewer, or take its smaller stream",
    454: "it does not know its own session any more (454)",
    461: "it does not send by {transport} (461); try --transport {other}",
}
"""What those who refuse by RTSP mean, as far as FFmpeg does not tell it."""


class LoginLostError(LostError):
    """A login of a kind that cannot be had."""


_LOGIN = av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, LoginLostError


def start(
    control: Control, camera: Camera, settings: LiveSettings, box: Mailbox, sounds: SoundRing
) -> None:
    """The work of the reader's process: `read`, in memory that has a bound."""
    memory.bound(settings.max_pixels)
    read(control, camera, settings, box, sounds)


def read(
    control: Control, camera: Camera, settings: LiveSettings, box: Mailbox, sounds: SoundRing
) -> None:
    """Read a camera until told to stop, or until its file is over.

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
        self._settings = settings
        self._heartbeat = ReaderHeartbeat(control)
        self._sink = Sink(box, sounds, ClockMapping(), settings.max_pixels)
        self._backoff = Backoff(camera.address)
        self._told: set[str] = set()
        """Why there is no connection, as far as it was said since there was one."""
        self._shown: int | None = None
        """How long the playlist is that was shown to its end; 0: not known, None: there is none."""
        self._log: Log = []
        """What FFmpeg says while it opens."""
        self._redirects = False
        """Whether it has redirected, ..."""
        self._followed: tuple[str, int] | None = None
        """... and to which host and port, as was said last."""

    def run(self) -> None:
        """Work until told to stop."""
        try:
            while not self._heartbeat.tick():
                self._try()
                if not self._camera.live and not self._settings.loop:
                    self._heartbeat.state = State.ENDED
                    break
        except StoppedError:
            pass
        self._heartbeat.tell(now=True)

    def _try(self) -> None:
        """Connect, pass on what comes, and wait until it is time to try again."""
        before, begun = self._heartbeat.frames, time.monotonic()
        error: Exception
        try:
            self._connect()
            error = LostError(_ENDED)
        except (LostError, av.error.FFmpegError, OSError, IndexError, ValueError) as caught:
            # PyAV raises IndexError where a stream appears on the way.
            error = caught
        worked = self._heartbeat.frames > before
        if self._camera.live:
            self._failed(error, time.monotonic() - begun if worked else None)
        elif not worked:
            raise SourceError(f"{self._camera.shown}: {_words(error)}") from None

    def _connect(self) -> None:
        """Connect, and pass on what comes until nothing comes any more."""
        opened: list[av.container.InputContainer] = []

        def close() -> None:
            for container in opened:
                container.close()

        with ConnectionThread(self._tick, close) as link:
            camera, container = self._open(link, opened)
            if not camera.live and set(container.format.name.split(",")) & _PLAYLISTS:
                raise LostError("it is a text or playlist file, not a video")
            length = container.duration or 0
            playlist = "hls" in container.format.name.split(",")
            sent = camera.kind in ("http", "https") and length > _LEAST_RECORDED
            recorded = bool(length) if playlist else sent
            if playlist or recorded:
                self._look_for_end(length)
            self._sink.timestamps.renew()
            quiet = not camera.live and self._heartbeat.frames > 0
            silent = Answers(self._log).loudspeakers
            Session(
                *(camera, container, link, self._heartbeat, self._sink), quiet=quiet, silent=silent
            ).run()
            if recorded:
                self._shown = length
                raise LostError(_OVER)

    def _look_for_end(self, length: int) -> None:
        """Raise `LostError` for a recording that was shown to its end; `length`: how long it is, 0
        as long as a playlist goes on."""
        if not length:
            self._shown = 0  # whatever follows, its end is not shown anew
        elif self._shown in (0, length):
            self._shown = length
            raise LostError(_OVER)
        else:
            self._heartbeat.control.say(
                "it is a recording that has ended, and is shown once; to show it again, save it as "
                "a file and play that with --realtime"
            )

    def _open(
        self, link: ConnectionThread, opened: list[av.container.InputContainer]
    ) -> tuple[Camera, av.container.InputContainer]:
        """Open the camera, or the one that it redirects to; what is open is in `opened` too."""
        camera, redirects = self._camera, 0
        while True:
            begun = time.monotonic()
            try:
                container = link.call(self._opening(camera, opened), camera.open_s)
            except LateError:
                # Not None: PyAV would compare it with what the other thread says just now.
                av.logging.set_level(av.logging.PANIC)
                raise _silence(Answers(self._log), camera) from None
            except av.error.FFmpegError as error:
                answers = Answers(self._log)
                unknown = redirects and split_login(camera.url)[1] is None
                if unknown and isinstance(error, av.error.HTTPUnauthorizedError):
                    raise LoginLostError(
                        f"it redirects to {camera.shown}, which wants a login; name that address "
                        "itself, with its login: it is not passed on to another host"
                    ) from None
                if not answers.redirects or not camera.kind.startswith("rtsp"):
                    raise _explained(error, answers, camera) from None
            else:
                # FFmpeg's own time limit, which comes first on a busy machine, is no error of its.
                video, late = main_video(container), time.monotonic() - begun >= camera.open_s
                if late and video is not None and not video.width:
                    raise _silence(Answers(self._log), camera)
                return camera, container
            if answers.location is None and not self._redirects:
                self._redirects = True  # and looked at closely
                continue
            redirects += 1
            if redirects > _MOST_REDIRECTS:
                raise LostError(f"it redirects more than {_MOST_REDIRECTS} times")
            if answers.location is None:
                raise LostError("it redirects, but to no address")
            try:
                camera = camera.redirected(answers.location, self._settings)
            except UsageError as error:
                raise LostError(f"{error}, which is not followed") from None
            if camera.address != self._followed:
                self._followed = camera.address
                self._heartbeat.control.say(f"it redirects to {camera.shown}")

    def _opening(
        self, camera: Camera, opened: list[av.container.InputContainer]
    ) -> Callable[[], av.container.InputContainer]:
        """What opens a camera, and keeps what FFmpeg says meanwhile."""
        # HTTP's headers are told at the finest level only; of RTSP that has each single byte.
        fine = self._redirects or camera.kind in ("http", "https")

        def open_() -> av.container.InputContainer:
            with kept(av.logging.TRACE if fine else av.logging.DEBUG) as self._log:
                opened.append(
                    av.open(
                        camera.url,
                        format=camera.format,
                        options=dict(camera.options),
                        timeout=(camera.open_s, camera.stall_s + 1),
                        metadata_errors="replace",
                    )
                )
            return opened[-1]

        return open_

    def _tick(self) -> bool:
        # A camera that has FFmpeg say much fills no memory with it.
        del self._log[:-_MOST_LOGGED]
        return self._heartbeat.tick()

    def _failed(self, error: Exception, worked_s: float | None) -> None:
        """Say why there is no picture any more, and wait until it is time to try again."""
        if worked_s is not None:
            self._backoff.worked(worked_s)
            self._told.clear()
        login = isinstance(error, _LOGIN)
        delay = self._backoff.failed(login=login)
        why = _words(error)
        failed = getattr(error, "errno", None) == errno.EIO and self._camera.address is not None
        if failed and worked_s is not None:
            why = _ENDED
        elif failed and Answers(self._log).text:
            why = _NO_VIDEO
        elif failed and Answers(self._log).connected and not self._camera.kind.endswith("s"):
            why = "the connection broke before a picture had come"
        elif failed:
            # What FFmpeg says of names that nobody knows, and of certificates.
            why = "it cannot be reached; is the name right, and the network up?"
            if self._camera.kind.endswith("s"):
                why += " If its certificate is not signed, allow that with --insecure-tls"
        if why not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(why)
            now = "no connection to the camera" if worked_s is None else "the camera is lost"
            again = "trying again, but rarely" if login else "trying again"
            self._heartbeat.control.say(f"{now}: {why}; {again}")
        # Errors and containers hold each other, and what was read last with them.
        gc.collect()
        self._heartbeat.pause(delay)
        while not self._reachable():
            self._backoff.returned()
            self._heartbeat.pause(self._backoff.until_probe())
        self._heartbeat.state = State.CONNECTING

    def _reachable(self) -> bool:
        with ConnectionThread(self._heartbeat.tick, lambda: None) as link:
            return link.call(self._backoff.reachable, _LOOK_UP_S)


def _silence(answers: Answers, camera: Camera) -> LostError:
    """What has not come in time."""
    if not answers.sends:
        return LostError("it does not answer")
    return LostError(
        f"it sends, but no whole picture within {camera.open_s:g} s; that takes too long, or is "
        "larger than any picture may be"
    )


def _explained(error: Exception, answers: Answers, camera: Camera) -> Exception:
    """The error, or what the camera answered, where that says more."""
    if isinstance(error, av.error.HTTPUnauthorizedError) and answers.login is not None:
        return LoginLostError(
            f"it wants a login by {answers.login}, which cannot be had here; set the "
            "camera to Digest with MD5, or to Basic"
        )
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return _silence(answers, camera)
    if answers.redirects and answers.location is not None:
        where = hidden(answers.location)[:_SHOWN]
        return LostError(f"it redirects from {camera.kind} to {where}, which is not followed")
    if answers.moves >= _MOST_MOVES:
        return LostError(f"it redirects more than {_MOST_MOVES} times")
    if answers.refusal is None or any(isinstance(error, kind) for kind in _LOGIN):
        return error
    method, status, said = answers.refusal
    if status == 404:
        return error
    other = "udp" if camera.transport == "tcp" else "tcp"
    usual = f"it refused {method} ({status}{' ' * bool(said)}{said})"
    return LostError(_STATUS.get(status, usual).format(transport=camera.transport, other=other))


def _words(error: Exception) -> str:
    """What went wrong, without the address that FFmpeg's errors carry."""
    if isinstance(error, LostError):
        return str(error)
    return next((words for kind, words in _WORDS if isinstance(error, kind)), reason(error))
