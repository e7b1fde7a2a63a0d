"""Frames of a file by their numbers."""

from pathlib import Path

import av.error

from stream.errors import UsageError
from stream.input.container.opening import main_video, open_input

_REORDERED = 64
"""Packets behind which no frame comes that is shown before."""


def timestamp_of(path: Path, number: int) -> float:
    """When frame `number` of a file is shown, counted from 0, in seconds from its beginning.

    Nothing is decoded. Raises `UsageError` where the file has fewer frames, or no times of them,
    and what `open_input` does.
    """
    times: list[float] = []
    with open_input(path) as container:
        video = main_video(container)
        if video is None:
            return 0.0  # that it has none is said elsewhere
        begin = (container.start_time or 0) / av.time_base
        try:
            for packet in container.demux(video):
                if packet.size and not packet.is_discard:
                    if packet.pts is None or packet.time_base is None:
                        raise UsageError("this file has no times of its frames; use a time")
                    times.append(float(packet.pts * packet.time_base) - begin)
                if len(times) > number + _REORDERED:
                    break
        except (av.error.FFmpegError, IndexError):
            pass
    if number >= len(times):
        raise UsageError(f"there are {len(times)} frames, 0 to {len(times) - 1}")
    return max(0.0, sorted(times)[number])
