"""What live feeds need: a port, shared memory, cameras, and a screen."""

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from stream.doctor.checks.finding import Facts, Finding, attempt, gigabytes, reason

if TYPE_CHECKING:
    from stream.ipc.mailbox import Picture

_HOST = "127.0.0.1"
_PATH = "doctor"
_SIZE = 320, 180
_RATE = 25
_FRAMES = 3
_TIMEOUT_S = 4.0
_SHARED = Path("/dev/shm")
_SHARED_NEEDED = 64e6
"""Bytes: a dozen frames of 1920x1080 and their surroundings."""
_TRIED_BYTES = 8 << 20
_CAMERAS = Path("/sys/class/video4linux")
_VIRTUAL = Path("/sys/devices/virtual/video4linux")


def look() -> list[Finding]:
    """Whether feeds can be served and cameras found. None is opened: its light would go on."""
    found = attempt(
        "RTSP server", _rtsp, "let programs listen on 127.0.0.1: a sandbox may forbid it"
    )
    found += attempt("shared memory", _memory)
    found += attempt("webcams", _webcams)
    found += attempt("virtual webcam", _virtual)
    found += attempt("screen", _screen)
    return found


def _rtsp() -> Finding:
    begun = time.perf_counter()
    count = asyncio.run(_served())
    taken = time.perf_counter() - begun
    said = f"a test pattern was served on loopback and read back ({count} frames, {taken:.1f} s)"
    return Finding("RTSP server", "ok", said, facts={"frames": count, "seconds": round(taken, 3)})


async def _served() -> int:
    """Serve a test pattern with the server of `serve:`, and read it; how many frames came."""
    from stream.live.output.rtsp.output import RtspOutput
    from stream.live.rtsp.server import Server
    from stream.live.rtsp.stage import Stage

    with socket.create_server((_HOST, 0)) as free:
        port = free.getsockname()[1]
    stage = Stage(_PATH, None)
    server = Server(stage)
    await server.listen(_HOST, port)
    pictures = _pictures()
    output = RtspOutput(stage, next(pictures), None, lambda line: None)
    reading = asyncio.create_task(asyncio.to_thread(_read, port))
    try:
        for picture in pictures:
            output.push(picture)
            done, _ = await asyncio.wait([reading], timeout=1 / _RATE)
            if done:
                break
        return await reading
    finally:
        output.close()
        await server.close()


def _pictures() -> Iterator["Picture"]:
    """A test pattern, as long as there is patience."""
    import av
    import numpy as np

    from stream.ipc.mailbox import Picture

    end = time.monotonic() + _TIMEOUT_S
    source = f"testsrc2=size={_SIZE[0]}x{_SIZE[1]}:rate={_RATE}"
    with av.open(source, format="lavfi") as container:
        for frame in container.decode(video=0):
            if time.monotonic() > end:
                return
            now = time.monotonic_ns()
            data = np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
            # All are key frames, so that the reader waits for none.
            yield Picture(data, now, now, _RATE, cut=True)


def _read(port: int) -> int:
    import av

    from stream.live.input.camera import Camera
    from stream.options.live import LiveSettings

    camera = Camera.parse(f"rtsp://{_HOST}:{port}/{_PATH}", LiveSettings())
    count = 0
    with av.open(
        camera.url, options=dict(camera.options), timeout=(_TIMEOUT_S, _TIMEOUT_S)
    ) as container:
        for frame in container.decode(video=0):
            if (frame.width, frame.height) != _SIZE:
                raise ValueError(f"a picture of {frame.width}x{frame.height} came out")
            count += 1
            if count == _FRAMES:
                break
    if count < _FRAMES:
        raise ValueError(f"{count} of {_FRAMES} frames came")
    return count


def _memory() -> Finding:
    from stream.ipc.memory import Shared

    what, todo = "shared memory", "in a container: docker run --shm-size 256m"
    free = shutil.disk_usage(_SHARED).free if _SHARED.is_dir() else None
    said = "works" if free is None else f"{gigabytes(free)} free"
    facts: Facts = {} if free is None else {"free": free}
    # Taking more than there is would end the process.
    if free is not None and free < _TRIED_BYTES:
        return Finding(what, "failed", f"{said}, too little for any feed", todo, facts)
    memory = Shared(_TRIED_BYTES)
    try:
        memory._buffer[:] = bytes(_TRIED_BYTES)
    finally:
        memory.close(remove=True)
    if free is not None and free < _SHARED_NEEDED:
        return Finding(what, "note", f"{said}, too little for 1920x1080", todo, facts)
    return Finding(what, "ok", said, facts=facts)


def _webcams() -> list[Finding]:
    if not sys.platform.startswith("linux"):
        return [Finding("webcams", "none", "not looked for on this system")]
    found = []
    for folder in sorted(_CAMERAS.glob("video*")):
        device = Path("/dev") / folder.name
        first = _line(folder / "index") == "0"  # the others are the same camera's data
        if first and device.is_char_device() and not (_VIRTUAL / folder.name).exists():
            found.append(_webcam(device, _line(folder / "name")))
    return found or [Finding("webcams", "none", "none found")]


def _webcam(device: Path, name: str) -> Finding:
    said = f"{name} (webcam:{device.name.removeprefix('video')}), not opened"
    if not os.access(device, os.R_OK | os.W_OK):
        todo = 'sudo usermod -aG video "$(id -un)", then log in again'
        return Finding(f"{device}", "failed", f"{name}: it may not be opened", todo)
    return Finding(f"{device}", "ok", said)


def _line(file: Path) -> str:
    return file.read_text().strip() if file.is_file() else ""


def _virtual() -> Finding:
    from stream.errors import DeblurError
    from stream.live.output.virtual_camera import VirtualCamera

    what = "virtual webcam"
    if find_spec("pyvirtualcam") is None:
        todo = "pip install 'deblur-stream[camera]'"
        return Finding(what, "missing", "the package pyvirtualcam is not installed", todo)
    import pyvirtualcam  # noqa: F401 - whether it can be loaded

    try:
        VirtualCamera()
    except DeblurError as error:
        wrong, _, todo = str(error).partition("; ")
        return Finding(what, "missing", wrong, todo)
    names = [folder.name for folder in sorted(_VIRTUAL.glob("video*"))]
    return Finding(what, "ok", ", ".join(f"/dev/{name}" for name in names) or "pyvirtualcam")


def _screen() -> Finding:
    import av
    import av.error

    from stream.live.input.camera import Camera
    from stream.options.live import LiveSettings

    if not sys.platform.startswith("linux"):
        return Finding("screen", "none", "not tried: the system would ask whether it may be seen")
    display = os.environ.get("DISPLAY", "")
    if not display:
        return Finding("screen", "none", "there is no X display here")
    if display.partition(":")[0] not in ("", "unix", "localhost"):
        # It might be waited for for minutes.
        return Finding("screen", "none", "not tried: the X display is on another machine")
    camera = Camera.parse("screen:", LiveSettings())
    try:
        with av.open(camera.url, format=camera.format, options=dict(camera.options)) as container:
            frame = next(container.decode(video=0))
    except av.error.FFmpegError as error:
        # Not the error's own text: the display's name is in it.
        return Finding("screen", "failed", reason(OSError(error.strerror)))
    size = f"{frame.width}x{frame.height}"
    if os.environ.get("WAYLAND_DISPLAY"):
        said = f"{size}, but Wayland shows other programs' windows to nobody"
        return Finding("screen", "note", said, "log in to an X11 session for screen:")
    return Finding("screen", "ok", f"{size} can be captured")
