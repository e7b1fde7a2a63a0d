"""The processor and the memory, and what of them the program may use."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from stream.doctor.checks.finding import Facts, Finding, attempt, gigabytes

_CPUINFO = Path("/proc/cpuinfo")
_SETS = {
    "AMX bf16": "amx_bf16",
    "AMX int8": "amx_int8",
    "AVX-512 bf16": "avx512_bf16",
    "AVX-512": "avx512f",
    "AVX2": "avx2",
}
"""What matters to the networks, and what Linux calls it."""
_LITTLE = 2e9
"""Bytes of memory: less than that is not enough for much more than 1920x1080."""


def look() -> list[Finding]:
    """The processor's name, cores, memory and instructions, and what follows from them."""
    found = attempt("name", lambda: Finding("name", "ok", _name()))
    found += attempt("cores", _cores)
    found += attempt("memory", _memory)
    found += attempt("instructions", _instructions)
    found += attempt("precision", _precision)
    return found


def _name() -> str:
    for line in _cpuinfo("model name"):
        return line
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3, check=True)
        return done.stdout.strip()
    return platform.processor() or platform.machine()


def _cpuinfo(key: str) -> Iterator[str]:
    """The values of a key, one for each core; nothing where it is not Linux on x86."""
    with suppress(OSError):
        for line in _CPUINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                yield value.strip()


def _cores() -> Finding:
    import torch

    there = psutil.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    quota, _ = limits()
    threads = torch.get_num_threads()
    said = f"{usable} usable" + (f" of {there}" if usable < there else "")
    said += f"; networks run on {threads}"
    facts: Facts = {
        "there": there,
        "usable": usable,
        "threads": threads,
    }
    if quota is not None and quota < usable:
        said += f"; the container is held to {quota:.1f}"
        facts["quota"] = quota
        if threads > quota + 0.5:
            todo = (
                f"set OMP_NUM_THREADS={max(1, round(quota))}: more threads get in each other's way"
            )
            return Finding("cores", "note", said, todo, facts)
    return Finding("cores", "ok", said, facts=facts)


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    _, most = limits()
    said = f"{gigabytes(memory.total)}, {gigabytes(memory.available)} available"
    facts: Facts = {
        "total": memory.total,
        "available": memory.available,
    }
    if most is not None and most < memory.total:
        said += f"; the container is held to {gigabytes(most)}"
        facts["limit"] = most
        if most < memory.available:
            todo = "with large frames use --tile 1024: the program does not see that limit"
            return Finding("memory", "note", said, todo, facts)
    if memory.available < _LITTLE:
        todo = "close other programs, or use --tile 512"
        return Finding("memory", "note", f"{said}, which is little", todo, facts)
    return Finding("memory", "ok", said, facts=facts)


def _instructions() -> Finding:
    import torch

    flags = set(next(_cpuinfo("flags"), "").split())
    has = [name for name, flag in _SETS.items() if flag in flags]
    has = has or [torch.backends.cpu.get_cpu_capability()]
    facts = {name: flag in flags for name, flag in _SETS.items()} if flags else {}
    return Finding("instructions", "ok", ", ".join(has), facts=facts)


def _precision() -> Finding:
    import torch

    from stream.compute.models import choose_dtype

    dtype = choose_dtype("auto", torch.device("cpu"))
    name = str(dtype).removeprefix("torch.")
    why = "this processor computes in it" if dtype == torch.bfloat16 else "it has no fast bfloat16"
    return Finding("precision", "ok", f"{name} on the CPU: {why}", facts={"auto": name})


def limits(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> tuple[float | None, int | None]:
    """How many cores and bytes of memory Linux holds this process to; None: no limit is known.

    A limit is that of the process's control group or one above it, by the kernel's documents
    "Control Group v2" and, for version 1, "CFS Bandwidth Control" and "Memory Resource Controller".
    """
    cores: list[float] = []
    room: list[int] = []
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for name in controllers.split(","):
                if name in ("", "cpu", "memory"):
                    for folder in _upward(root / name if name else root, path):
                        _limits_of(folder, cores, room)
    return min(cores, default=None), min(room, default=None)


def _upward(top: Path, path: str) -> Iterator[Path]:
    """The folder of a control group and those above it."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    for count in range(len(parts), -1, -1):
        yield top.joinpath(*parts[:count])


def _limits_of(folder: Path, cores: list[float], room: list[int]) -> None:
    def numbers(name: str) -> list[int]:
        with suppress(OSError, ValueError):
            return [int(word) for word in (folder / name).read_text().split()]
        return []  # not there, or "max"

    quota, period = numbers("cpu.max")[:2] or [0, 0]
    if not quota:
        quota, period = (numbers("cpu.cfs_quota_us") or [0])[0], 100_000
        period = (numbers("cpu.cfs_period_us") or [period])[0]
    if quota > 0 and period > 0:
        cores.append(quota / period)
    for name in ("memory.max", "memory.limit_in_bytes"):
        room.extend(numbers(name)[:1])
