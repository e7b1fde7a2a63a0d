"""What the processes of a live feed and of the preview tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from stream.ipc.window import Window
from stream.options.live import LiveRestoreOptions


class State(StrEnum):
    """Of a process, and of a feed."""

    STARTING = "starting"
    CONNECTING = "connecting"
    LOADING = "loading"
    WAITING = "waiting"
    LIVE = "live"
    NO_SIGNAL = "no signal"
    ENDED = "ended"
    DEGRADED = "degraded"
    """Of a feed alone: an output is not up."""
    FAILED = "failed"
    """Of a feed alone: it cannot work, until it is described in another way."""


@dataclass(frozen=True)
class Heartbeat:
    """How a process is; sent a few times a second. Counts are since the process started."""

    state: State = State.STARTING
    frames: int = 0
    """Frames that left this process."""
    dropped: int = 0
    """Frames that this process did not take up, because newer ones had come."""
    damaged: int = 0
    """Packets that did not decode, and frames that the decoder marked as damaged."""
    repeats: int = 0
    """Pictures that a writer showed again, slates among them."""
    connects: int = 0
    """How often a connection was made."""
    readers: int = 0
    """Who is connected to an output that is served."""
    refused: int = 0
    """Logins with a wrong user or password."""
    busy_s: float = 0.0
    """Seconds spent working; the rest was waiting."""
    latencies_ms: tuple[float, ...] = ()
    """From arrival to here, of the frames since the last heartbeat."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What else is worth showing, by name: size, codec, model, step of the ladder."""


@dataclass(frozen=True)
class Line:
    """Something to be told to the user, in one line unless more was asked for."""

    text: str


@dataclass(frozen=True)
class Fatal:
    """Why the whole feed cannot work, with the exit code of `stream.errors`."""

    text: str
    exit_code: int


@dataclass(frozen=True)
class InUse:
    """Told by the model's process, and passed on to the preview's: how it restores from now on."""

    restoring: LiveRestoreOptions
    models: tuple[str, ...] = ()
    """Names of all that there are to choose from."""
    feed: str = ""
    """The name of the feed, where there are several."""
    answered: int = 0
    """The number of the last change that this is the answer to, where they have any."""


@dataclass(frozen=True)
class Introduce:
    """Asked for by the preview's process when it begins: what there is to show."""


@dataclass(frozen=True)
class Change:
    """Asked for by the preview's process: restore a feed in another way."""

    feed: str
    restoring: LiveRestoreOptions
    number: int = 0
    """Later ones have higher ones."""


@dataclass(frozen=True)
class Stop:
    """Asks a process to finish what it has in hand and end."""


@dataclass(frozen=True)
class Beyond:
    """Told to the model's process now and then: what comes after it."""

    ms: float
    """From the end of its work until a frame is encoded, as the slowest output needs it."""


@dataclass(frozen=True)
class PreviewFeed:
    """A feed, or a file that is being worked on."""

    name: str
    window: Window
    restoring: LiveRestoreOptions | None = None
    """How it is restored, where that can be changed."""
    models: tuple[str, ...] = ()
    """Which there are to choose from."""
    answered: int = 0
    """The number of the last `Change` that was taken up or refused."""


@dataclass(frozen=True)
class Feeds:
    """Told to the preview's process: all there is to show from now on."""

    feeds: tuple[PreviewFeed, ...]


@dataclass(frozen=True)
class Figures:
    """Told to the preview's process now and then."""

    feeds: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """For each feed by name what the page shows, as JSON has it."""


Request = InUse | Introduce | Change
"""What a process tells whoever keeps it up, beside how it is."""
Message = Heartbeat | Line | Fatal | Request
"""All that comes from a process."""
Order = LiveRestoreOptions | Beyond | Feeds | Figures | InUse
"""What a process is told, other than to stop: the model's to restore in another way, and so on."""
Command = Stop | Order
"""All that a process is told."""
