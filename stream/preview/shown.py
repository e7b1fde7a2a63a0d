"""What the page shows of a feed, as it passes between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from stream.ipc.window import Window
from stream.options.live import LiveRestoreOptions


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


@dataclass(frozen=True)
class Change:
    """Asked for by the preview's process: restore a feed in another way."""

    feed: str
    restoring: LiveRestoreOptions
    number: int = 0
    """Later ones have higher ones."""
