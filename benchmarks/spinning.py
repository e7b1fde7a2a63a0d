"""PyTorch with OpenMP threads that spin while they wait, in a process of its own.

Whether they spin or sleep is decided when torch is loaded, so one process cannot try both. The
process is stopped between its turns: its threads would take the cores from everyone else.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Spinning:
    """Stands for a `Runner` elsewhere. To be closed."""

    in_flight = 1

    def __init__(self, file: Path, engine: str, precision: str, size: tuple[int, int]) -> None:
        said = json.dumps([str(file), "cpu", engine, precision, size])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.spinning", said],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_WAIT_POLICY": "ACTIVE"},
        )
        self._answer()

    def latency_ms(self, seconds: float) -> float:
        """As `Runner.latency_ms`."""
        return self._ask("latency_ms", seconds)

    def fps(self, seconds: float) -> float:
        """As `Runner.fps`."""
        return self._ask("fps", seconds)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _ask(self, what: str, seconds: float) -> float:
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps([what, seconds]) + "\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the process with spinning threads has ended; see what it said")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(line)


def _main(said: str) -> None:
    from benchmarks.runner import Runner

    file, device, engine, precision, size = json.loads(said)
    runner = Runner(Path(file), device, engine, precision, (size[0], size[1]))
    runner.restored()
    sys.stdout.write("0\n")
    sys.stdout.flush()
    for line in sys.stdin:
        what, seconds = json.loads(line)
        sys.stdout.write(f"{getattr(runner, what)(seconds)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1])
