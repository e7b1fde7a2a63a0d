"""A reader's session: what it set up, and what it gets (RFC 2326, appendix A)."""

import secrets
import time
from collections.abc import Callable

from stream.live.rtsp.paths import Backlog, InterleavedPath, UdpPath
from stream.live.rtsp.track import Batch, Presentation, fields

TIMEOUT_S = 60
"""Without a sign of life for so long a session is over, unless it is seen to take packets."""
_REPORT_S = 3.0
"""Between sender reports."""

Begun = Callable[[list[tuple[int, str]]], None]
"""Called just before the first packet, with what RTP-Info says of each track."""


class Session:
    """The tracks that a reader has set up, and whether they are playing."""

    def __init__(self, show: Presentation, backlog: Backlog, hang_up: Callable[[], None]) -> None:
        """`hang_up` closes the connection that it belongs to, whose backlog is `backlog`."""
        self.id = secrets.token_hex(8)
        self.show = show
        self.paths: dict[int, InterleavedPath | UdpPath] = {}
        self.playing = False
        self.skipped = 0
        """Pictures that were left out, because the reader was late."""
        self._backlog = backlog
        self._hang_up = hang_up
        self._begun: Begun | None = None
        self._late = False
        self._since = 0
        """The moment it began with."""
        self._alive_s = time.monotonic()
        self._reported_s = 0.0

    def heard(self) -> None:
        """Note a sign of life: a request, or a report of the receiver."""
        self._alive_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """How long ago the last sign of life is; 0 where packets are seen to be taken."""
        if self.playing and any(isinstance(path, InterleavedPath) for path in self.paths.values()):
            return 0.0
        return time.monotonic() - self._alive_s

    def play(self, begun: Begun) -> None:
        """Begin with the next key frame, which is asked for."""
        self._begun = begun
        self.show.want_key()

    def pause(self) -> None:
        """Send nothing more until `play`."""
        self.playing, self._begun = False, None

    def send(self, batch: Batch) -> None:
        """Take up what was made just now, in so far as the reader wants it."""
        if batch.key and self._begun is not None:
            self._begin(batch, self._begun)
        path = self.paths.get(batch.track)
        if not self.playing or path is None or batch.moment < self._since:
            return
        if isinstance(path, InterleavedPath) and self._left_out(batch):
            return
        if time.monotonic() - self._reported_s > _REPORT_S:
            self._report()
        path.send(batch.packets)

    def end(self) -> None:
        """Tell the reader that nothing more comes, and hang up."""
        if self.playing:
            for number, bye in enumerate(self.show.byes()):
                if number in self.paths:
                    self.paths[number].report(bye)
        self._hang_up()

    def close(self) -> None:
        """Give back what the session holds."""
        self.pause()
        for path in self.paths.values():
            path.close()

    def _begin(self, batch: Batch, begun: Begun) -> None:
        self._begun, self.playing, self._late = None, True, False
        self._since = batch.moment
        info = []
        for number in sorted(self.paths):
            if number == batch.track:
                sequence, timestamp, _ = fields(batch.packets[0])
                info.append((number, f"seq={sequence};rtptime={timestamp}"))
            else:
                at = self.show.tracks[number].timestamp(batch.moment)
                info.append((number, f"rtptime={at}"))
        begun(info)
        # The clocks of the tracks are told before anything that they are for.
        self._report()

    def _left_out(self, batch: Batch) -> bool:
        """Whether the reader is late; it begins again with a key frame."""
        if not self._late:
            self._late = self._backlog.late
        elif self._backlog.caught_up:
            self._late = not batch.key
            self.show.want_key()
        self.skipped += self._late and batch.track == 0
        return self._late

    def _report(self) -> None:
        self._reported_s = time.monotonic()
        for number, report in enumerate(self.show.reports()):
            if number in self.paths:
                self.paths[number].report(report)
