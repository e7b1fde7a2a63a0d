"""One run of the program in a process of its own, which says at its end what memory it took."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Peak:
    """What a run took."""

    mib: float
    """Resident memory, at most."""
    gpu_mib: float
    """Memory of the GPU that PyTorch held, at most."""
    frames: int
    seconds: float


def peak(
    clip: Path, output: Path, model: str, device: str, duration_s: float | None = None
) -> Peak:
    """Restore a clip, or its beginning, in a process of its own."""
    said = json.dumps([str(clip), str(output), model, device, duration_s])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peak", said],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    output.unlink()
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _main(said: str) -> None:
    import torch

    import stream
    from stream.options.exposure import Exposure

    clip, output, model, device, duration = json.loads(said)
    settings = stream.Settings(
        model=model,
        device=device,
        overwrite=True,
        span=stream.Span(0, duration),
        shutter=Exposure("360deg"),  # the network works on all that moves
    )
    report = stream.Job(clip, output, settings).run()
    gpu = torch.cuda.max_memory_reserved() / 2**20 if torch.cuda.is_available() else 0.0
    found = Peak(_resident_mib(), gpu, report.frames, report.seconds)
    sys.stdout.write(json.dumps(asdict(found)) + "\n")


def _resident_mib() -> float:
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        # Not ru_maxrss, which on Linux counts the process that this one was begun by.
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    _main(sys.argv[1])
