"""Starts, kills and starts again the RTSP server of this folder."""

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import quote

from tests.rig.ports import free_port

PYTHON = "/usr/bin/python3"
"""GStreamer's bindings come with the system."""
SCRIPT = Path(__file__).with_name("rtsp_server.py")
PACKAGES = SCRIPT.with_name("packages.txt")
"""Of Debian; what the server and the players of this folder need."""
START_S = 120.0
"""How long a server may take to be up, on a machine that does much else."""


@cache
def why_not() -> str | None:
    """Why no server can run here; None where one can."""
    try:
        tried = subprocess.run(
            [PYTHON, str(SCRIPT), "--check"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError as error:
        said = str(error)
    else:
        if tried.returncode == 0:
            return None
        said = (tried.stderr.strip().splitlines() or ["it does not start"])[-1]
    return f"no RTSP server here ({said}); apt-get install {' '.join(PACKAGES.read_text().split())}"


@dataclass(frozen=True)
class Serving:
    """How a server serves."""

    size: tuple[int, int] = (640, 360)
    fps: int = 25
    codec: str = "h264"
    """Or h265; of /cam."""
    audio: str | None = None
    """aac or pcmu beside the video of /cam, and AAC beside that of /in and /out."""
    file: Path | None = None
    """What /cam shows; None: a moving ball."""
    user: str | None = None
    password: str | None = None
    gop: int | None = None
    """Frames from one key frame of /cam to the next; None: a second's."""
    claims: int | None = None
    """The frame rate that the video of /cam says it has; None: the right one."""
    first: int | None = None
    """The RTP timestamp at which /cam begins; 2**32 - 180_000 wraps after two seconds."""
    bind: str = "127.0.0.1"

    @property
    def words(self) -> list[str]:
        """The arguments of the script."""
        words = ["--size", f"{self.size[0]}x{self.size[1]}", "--fps", str(self.fps)]
        words += ["--codec", self.codec, "--bind", self.bind]
        words += ["--audio", self.audio] if self.audio else []
        words += ["--file", str(self.file)] if self.file else []
        words += ["--gop", str(self.gop)] if self.gop is not None else []
        words += ["--claims", str(self.claims)] if self.claims is not None else []
        words += ["--first", str(self.first)] if self.first is not None else []
        return words


class RtspServer:
    """A server with a camera at `/cam` and a relay from `/in` to `/out`, on a port that it keeps.

    with RtspServer(Serving(size=(320, 240))) as server:
        play(server.url("cam"))
        server.kill()
        server.start(size=(160, 120))
    """

    def __init__(self, serving: Serving | None = None) -> None:
        self.serving = serving or Serving()
        self.port = free_port()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, path: str, *, login: bool = True) -> str:
        """The address of cam, in or out, with user and password where the server wants them."""
        serving = self.serving
        who = ""
        if login and serving.user:
            who = f"{quote(serving.user, safe='')}:{quote(serving.password or '', safe='')}@"
        return f"rtsp://{who}127.0.0.1:{self.port}/{path}"

    @property
    def pid(self) -> int | None:
        """The number of its process; None while it is down."""
        return self._process.pid if self._process else None

    def start(self, **changed: object) -> None:
        """Start, with these fields of `Serving` changed, and wait until it is up."""
        assert self._process is None, "it runs"
        self.serving = replace(self.serving, **changed)  # type: ignore[arg-type]
        login = {"RIG_USER": self.serving.user or "", "RIG_PASSWORD": self.serving.password or ""}
        self._process = subprocess.Popen(
            [PYTHON, str(SCRIPT), "--port", str(self.port), *self.serving.words],
            stdin=subprocess.PIPE,
            stderr=None,
            text=True,
            env=os.environ | login,
        )
        end = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                process = self._process
                self.kill()
                raise RuntimeError(f"the RTSP server did not start: {process.returncode}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once, as a camera that loses its power; its clients see the link go."""
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.communicate()

    def stall(self) -> None:
        """Let it do nothing more, with all links open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `stall`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
                return link.recv(9) == b"RTSP/1.0 "
        except OSError:
            return False
