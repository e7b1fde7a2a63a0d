"""The program: video files in, sharper video files out.

report = stream.run("shaky.mp4", "clean.mp4")

for frame in stream.restore(frames, rate=30): ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.batch import Batch, Outcome
    from stream.encoders import EncoderSettings
    from stream.errors import (
        CancelledError,
        DeblurError,
        DeviceError,
        DiffersError,
        ModelError,
        NoInputError,
        ReaderLeftError,
        SinkError,
        SomeFailedError,
        SourceError,
        UsageError,
        WriteError,
    )
    from stream.exposure import Exposure
    from stream.frame import Frame
    from stream.iterators.live import LiveFrame, LiveFrames, open_live
    from stream.iterators.restore import Restored, restore
    from stream.job import Job, run
    from stream.reading import Span
    from stream.report import Progress, Report
    from stream.scale import Scale
    from stream.settings import Settings
    from stream.tasks import Task, tasks_of

__all__ = [
    "Batch",
    "CancelledError",
    "DeblurError",
    "DeviceError",
    "DiffersError",
    "EncoderSettings",
    "Exposure",
    "Frame",
    "Job",
    "LiveFrame",
    "LiveFrames",
    "ModelError",
    "NoInputError",
    "Outcome",
    "Progress",
    "ReaderLeftError",
    "Report",
    "Restored",
    "Scale",
    "Settings",
    "SinkError",
    "SomeFailedError",
    "SourceError",
    "Span",
    "Task",
    "UsageError",
    "WriteError",
    "open_live",
    "restore",
    "run",
    "tasks_of",
]

_HOMES = {
    "EncoderSettings": "encoders",
    "Frame": "frame",
    "Scale": "scale",
    "Exposure": "exposure",
    "Span": "reading",
    "Settings": "settings",
    **dict.fromkeys(("Batch", "Outcome"), "batch"),
    **dict.fromkeys(("Task", "tasks_of"), "tasks"),
    **dict.fromkeys(("Job", "run"), "job"),
    **dict.fromkeys(("LiveFrame", "LiveFrames", "open_live"), "iterators.live"),
    **dict.fromkeys(("Restored", "restore"), "iterators.restore"),
    **dict.fromkeys(("Progress", "Report"), "report"),
}


def __getattr__(name: str) -> Any:
    # Loaded when first used (PEP 562): the command has something to say to torch before it is
    # loaded, and `deblur --help` shall not take seconds.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"stream.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
