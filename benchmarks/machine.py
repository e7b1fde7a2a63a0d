"""What the figures were measured on."""

import datetime
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from benchmarks.timing import cores

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
"""Instructions that decide how fast a network runs on a CPU."""
_BEST = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")
"""Those that tell processors of one name apart."""
_PACKAGES = ("torch", "openvino", "av", "numpy", "opencv-python-headless", "kornia")
_ROOT = Path(__file__).parents[1]


def machine() -> dict[str, str]:
    """Processor, GPU, memory, versions, commit and date, in words."""
    cpu, flags = _cpu()
    facts = {
        "cpu": cpu,
        "cores": str(cores()),
        "instructions": " ".join(flags) or "-",
        "gpu": _gpu(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    facts |= {name: _version(name) for name in _PACKAGES}
    facts["commit"] = _commit()
    facts["date"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    return facts


def hardware(facts: dict[str, str]) -> str:
    """The machine in one line, without what changes from day to day."""
    gpu = "" if facts["gpu"] == "none" else f"{facts['gpu']}; "
    best = next((flag for flag in _BEST if flag in facts["instructions"].split()), "")
    cpu = f"{facts['cpu']} with {best}" if best else facts["cpu"]
    return f"{gpu}{facts['cores']} cores of {cpu}, {facts['memory']}"


def _cpu() -> tuple[str, list[str]]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() == "flags":
            flags = set(value.split())
    return name, [flag for flag in _FLAGS if flag in flags]


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none"
    driver = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    driver = driver.splitlines()[0] if driver else "unknown"
    return f"{torch.cuda.get_device_name()} (driver {driver}, CUDA {torch.version.cuda})"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    commit = _said("git", "rev-parse", "--short", "HEAD")
    if not commit:
        return "unknown"
    dirty = _said("git", "status", "--porcelain", "--untracked-files=no")
    return f"{commit} and changes" if dirty else commit


def _said(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
