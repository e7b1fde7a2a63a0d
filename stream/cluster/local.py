"""A Ray cluster on this machine alone, for as long as a job lasts."""

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from stream.errors import DeviceError

_KEEPER = (
    'exec 3<&0; "$@" & ray=$!; { read -r _ <&3; kill "$ray"; } & wait "$ray"; '
    'rm -rf "$TMPDIR" "$DEBLUR_RAY"'
)
"""Ends Ray when whoever holds the other end of the pipe is gone, killed or not, and cleans up."""
_START_S, _END_S = 300.0, 60.0
_LONGEST = 20
"""Letters of a folder's name: behind it Ray puts 87, and a socket's may have 107."""
_STORE = 80 << 20
"""Bytes for what tasks hand over: here they see all files themselves."""


@contextmanager
def started(count: int) -> Iterator[str]:
    """The address of a cluster that restores as many pieces at once; it ends with the block, or
    with this process.

    Nothing of it can be reached from elsewhere, and other users of the machine lack its token.
    Raises `DeviceError`.
    """
    usual = tempfile.gettempdir()
    pieces = tempfile.mkdtemp(prefix="deblur-ray-")
    where = usual if len(usual) <= _LONGEST else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="deblur-ray-", dir=where))
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        # Made for systems with firewalls that ask; where it is off, Ray keeps to the loopback.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        # As what runs without Ray has it; by itself Ray gives way to all else.
        RAY_worker_niceness="0",
        RAY_raylet_start_wait_time_s=str(int(_START_S)),
        RAY_agent_register_timeout_ms=str(int(1000 * _START_S)),
    )
    node = secrets.token_hex(28)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            ["sh", "-c", _KEEPER, "sh", *_command(folder, count)],
            env={
                **os.environ,
                "TMPDIR": pieces,
                "DEBLUR_RAY": str(folder),
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": node,
            },
            stdin=subprocess.PIPE,
            stdout=said,
            stderr=said,
            # Ctrl-C is for the job, which ends it in its own time.
            start_new_session=True,
        )
        try:
            begun, address = time.monotonic(), folder / "ray_current_cluster"
            while not address.exists():
                if process.poll() is not None or time.monotonic() - begun > _START_S:
                    raise DeviceError(f"Ray does not start here: {_last_line(folder, said)}")
                for session in folder.glob("session_2*"):
                    say_ports(session, node)
                time.sleep(0.1)
            yield address.read_text().strip()
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(_END_S)


def _command(folder: Path, count: int) -> list[str]:
    names = ("dashboard-agent-listen-port", "runtime-env-agent-port", "ray-client-server-port")
    ports = zip(names, free_ports(len(names)), strict=True)
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--port=0"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"),
        *("--include-log-monitor=false", f"--temp-dir={folder}", f"--num-cpus={count}"),
        f"--object-store-memory={_STORE}",
        *(f"--{name}={port}" for name, port in ports),
    ]


def say_ports(session: Path, node: str) -> None:
    """Say in the place of the process that measures for the dashboard that it opens no port.

    Ray waits for its word, though nobody asks it anything here, and gives up after 15 s; it needs
    longer to load on a machine that is busy (ray-project/ray, issue 65983).
    """
    for name in ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"):
        said = session / f"{name}_{node}"
        if not said.exists():
            written = session / f"{name}.tmp"
            written.write_text("-1")
            written.replace(said)


def _last_line(folder: Path, said: IO[bytes]) -> str:
    """What Ray said last: of what went wrong, or else of what it did."""
    said.seek(0)
    lines = said.read().decode(errors="replace").strip().splitlines()
    for log in folder.glob("session_2*/logs/raylet.err"):
        lines += [line for line in log.read_text().splitlines() if "Check failed" in line]
    return lines[-1] if lines else "it says nothing"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses now."""
    with ExitStack() as held:
        taken = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in taken]
