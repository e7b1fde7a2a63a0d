"""The program: video files in, sharper video files out.

report = stream.run("shaky.mp4", "clean.mp4")

for frame in stream.restore(frames, rate=30): ...
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from stream.files.batch import Batch, Outcome
    from stream.files.job import Job
    from stream.files.report import Progress, Report
    from stream.files.tasks import Task, tasks_of
    from stream.frame import Frame
    from stream.iterators.files import run
    from stream.iterators.live import LiveFrame, LiveFrames, open_live
    from stream.iterators.restore import Restored, restore
    from stream.options.encoding import EncoderSettings
    from stream.options.exposure import Exposure
    from stream.options.reading import Span
    from stream.options.scale import Scale
    from stream.options.settings import Settings

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
    "EncoderSettings": "options.encoding",
    "Frame": "frame",
    "Scale": "options.scale",
    "Exposure": "options.exposure",
    "Span": "options.reading",
    "Settings": "options.settings",
    **dict.fromkeys(("Batch", "Outcome"), "files.batch"),
    **dict.fromkeys(("Task", "tasks_of"), "files.tasks"),
    "Job": "files.job",
    "run": "iterators.files",
    **dict.fromkeys(("Progress", "Report"), "files.report"),
    **dict.fromkeys(("LiveFrame", "LiveFrames", "open_live"), "iterators.live"),
    **dict.fromkeys(("Restored", "restore"), "iterators.restore"),
}


def __getattr__(name: str) -> Any:
    # Loaded when first used (PEP 562): the command has something to say to torch before it is
    # loaded, and `deblur --help` shall not take seconds.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"stream.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value
