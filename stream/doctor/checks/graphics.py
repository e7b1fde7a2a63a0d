"""Graphics processors: those the networks can run on, and those they cannot yet."""

import csv
import re
import shutil
import subprocess
import time
from functools import partial
from pathlib import Path

from stream.doctor.checks.finding import Facts, Finding, attempt, gigabytes, reason

_NVIDIA = Path("/proc/driver/nvidia/version")
_CARDS = Path("/sys/class/drm")
_VENDORS = {"0x8086": "Intel", "0x1002": "AMD", "0x10de": "NVIDIA"}
"""PCI's numbers of the makers of graphics processors."""
_INSTALL = "install PyTorch with CUDA: pytorch.org/get-started says which one suits the driver"
_SIDE = 512
_TIMEOUT_S = 5.0


def look() -> list[Finding]:
    """Every GPU, whether it computes what it should, and what stands in the way where none does."""
    found = attempt("NVIDIA driver", _driver)
    found += attempt("GPU", partial(_torch_gpus, found[0].state == "ok"))
    found += attempt("Apple GPU", _apple)
    found += attempt("other graphics", _others)
    return found


def _driver() -> Finding:
    """What the driver's own tool says; it is there where the driver is."""
    what, tool = "NVIDIA driver", shutil.which("nvidia-smi")
    kernel = ""
    if _NVIDIA.is_file() and (match := re.search(r"\b\d{3}\.\d+(\.\d+)?\b", _NVIDIA.read_text())):
        kernel = match[0]
    if tool is None:
        if kernel:
            return Finding(what, "ok", f"{kernel} (no nvidia-smi here)", facts={"driver": kernel})
        return Finding(what, "none", "not found")
    query = [tool, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(what, "failed", f"nvidia-smi: {type(error).__name__}", "install it again")
    rows = [[cell.strip() for cell in row] for row in csv.reader(done.stdout.splitlines())]
    rows = [row for row in rows if len(row) == 2]
    if done.returncode or not rows:
        why = (done.stdout + done.stderr).strip().splitlines() or ["it finds no GPU"]
        todo = "load or install the driver (Debian: apt-get install nvidia-driver), then restart"
        return Finding(what, "failed", f"nvidia-smi: {why[0]}", todo)
    names = ", ".join(row[1] for row in rows)
    return Finding(what, "ok", f"{rows[0][0]}, for {names}", facts={"driver": rows[0][0]})


def _torch_gpus(driver: bool) -> list[Finding]:
    import torch

    kind = "ROCm" if torch.version.hip else "CUDA"
    built = torch.version.hip or torch.version.cuda
    if not built:
        if driver:
            said = "there is one, but this PyTorch is built without CUDA"
            return [Finding("GPU", "missing", said, _INSTALL)]
        return [Finding("GPU", "none", "none to use: PyTorch is built without CUDA and ROCm")]
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        if not driver and "no NVIDIA" in str(error):
            return [Finding("GPU", "none", f"none found (PyTorch has {kind} {built})")]
        return [Finding("GPU", "failed", reason(error), _INSTALL if driver else "")]
    if not torch.cuda.device_count():
        said = f"none is visible (PyTorch has {kind} {built})"
        todo = "see CUDA_VISIBLE_DEVICES; in a container, start it with --gpus all"
        return [Finding("GPU", "missing" if driver else "none", said, todo if driver else "")]
    found = []
    for index in range(torch.cuda.device_count()):
        found += attempt(f"cuda:{index}", partial(_gpu, index, f"{kind} {built}"), _INSTALL)
    return found


def _gpu(index: int, built: str) -> Finding:
    import torch

    what, device = f"cuda:{index}", torch.device("cuda", index)
    facts = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    said = (
        f"{facts.name}, {gigabytes(total)} ({gigabytes(free)} free), "
        f"compute {facts.major}.{facts.minor}, {built}"
    )
    numbers = torch.rand(_SIDE, _SIDE, generator=torch.Generator().manual_seed(1))
    there = numbers.to(device, torch.float16)
    (there @ there).cpu()  # the first one loads what it needs
    begun = time.perf_counter()
    product = (there @ there).float().cpu()
    taken = (time.perf_counter() - begun) * 1e3
    exact = numbers.half().float() @ numbers.half().float()
    error = float(((product - exact).abs() / exact).max())
    told: Facts = {
        "name": str(facts.name),
        "memory": total,
        "compute": f"{facts.major}.{facts.minor}",
    }
    if not error < 0.01:
        return Finding(what, "failed", f"{said}: it multiplies wrong", "update its driver", told)
    return Finding(what, "ok", f"{said}; {_SIDE}x{_SIDE} product in {taken:.2f} ms", facts=told)


def _apple() -> list[Finding]:
    import torch

    if not torch.backends.mps.is_built():
        return []
    if not torch.backends.mps.is_available():
        return [
            Finding("Apple GPU", "none", "this Mac or its system has none that PyTorch can use")
        ]
    ones = torch.ones(_SIDE, _SIDE, device="mps")
    right = bool(((ones @ ones).cpu() == _SIDE).all())
    return [Finding("Apple GPU", "ok" if right else "failed", "mps" if right else "wrong products")]


def _others() -> list[Finding]:
    """Intel's and AMD's: no network runs on them, unless PyTorch is built with ROCm."""
    import torch

    makers = []
    for file in sorted(_CARDS.glob("card*/device/vendor")):
        maker = _VENDORS.get(file.read_text().strip())
        if maker in ("Intel", "AMD") and not (maker == "AMD" and torch.version.hip):
            makers.append(maker)
    return [
        Finding(f"{maker} graphics", "none", "there, but networks do not run on it")
        for maker in dict.fromkeys(makers)
    ]
