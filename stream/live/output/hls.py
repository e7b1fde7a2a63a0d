"""Live video as a folder that a web server can give out: a playlist and short files (HLS)."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av

from stream.errors import SinkError
from stream.ipc.child import Control
from stream.ipc.mailbox import Picture
from stream.ipc.sound_ring import SoundFormat
from stream.live.encoding.mux import LiveOutput, takes
from stream.live.encoding.video import Quality
from stream.live.output.writer import PlainTarget

_LIST = "index.m3u8"
_SEGMENT_S = 2
_LISTED = 6
"""Segments in the playlist."""
_OURS = re.compile(r"live-\d{1,9}\.ts")


@dataclass(frozen=True)
class Hls(PlainTarget):
    """A folder with `index.m3u8` and the segments that it lists; older ones are deleted.

    After a restart the playlist goes on, with a discontinuity. (RFC 8216)
    """

    folder: Path
    quality: Quality | None = None
    resizes = False
    repeats = True

    def __post_init__(self) -> None:
        if not self.folder.absolute().parent.is_dir():
            parent = self.folder.absolute().parent
            raise SinkError(f"the folder {parent} does not exist; create it first")
        if self.folder.exists() and not self.folder.is_dir():
            raise SinkError(f"{self.folder} is no folder; hls: writes several files into one")
        if "%" in str(self.folder.absolute()):
            # In names of segments FFmpeg takes it for the beginning of a number.
            raise SinkError(f"{self.folder}: the path of a folder for hls: cannot have a % in it")

    @property
    def name(self) -> str:
        """As it can be shown."""
        return f"hls:{self.folder}"

    def takes(self, sound: SoundFormat) -> bool:
        """Whether sound is written as it comes, or without loss."""
        return takes("hls", sound)

    def open(self, first: Picture, sound: SoundFormat | None, control: Control) -> LiveOutput:
        """Go on with the folder's playlist, or begin one. Raises `OSError`."""
        folder = self.folder.absolute()
        folder.mkdir(exist_ok=True)
        listed = _listed(folder)
        for file in folder.iterdir():
            # What a process that was killed has left behind.
            if _OURS.fullmatch(file.name.removesuffix(".tmp")) and file.name not in listed:
                file.unlink()
        flags = ["delete_segments", "independent_segments", "omit_endlist", "program_date_time"]
        flags += ["temp_file"] + ["append_list"] * bool(listed)
        options = {
            "hls_time": str(_SEGMENT_S),
            "hls_list_size": str(_LISTED),
            "hls_flags": "+".join(flags),
            "hls_segment_filename": f"file:{folder}/live-%d.ts",
            "max_interleave_delta": "100000",
        }
        container = av.open(f"file:{folder / _LIST}", "w", format="hls", container_options=options)
        return LiveOutput(container, first, sound, quality=self.quality)


def _listed(folder: Path) -> set[str]:
    """The segments of the playlist that is there; one that names anything else is removed, as
    FFmpeg deletes the files of the playlist it goes on with."""
    path, listed = folder / _LIST, set[str]()
    with suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").splitlines():
            if line and not line.startswith("#"):
                listed.add(line)
        if not all(_OURS.fullmatch(name) for name in listed):
            path.unlink()
            listed.clear()
    return listed
