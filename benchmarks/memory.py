"""What memory the program takes, by size, by network, and by length."""

from dataclasses import asdict

from benchmarks.clip import RATE
from benchmarks.peak import peak
from benchmarks.plan import Plan, Size, named
from benchmarks.tables import Part, Table, figure

_FRAMES = 24
"""Enough to fill every queue, nearly."""


def bound_mib(size: Size) -> float:
    """What the README promises of `lite` on a CPU, in MiB."""
    megapixels = size[0] * size[1] / 1e6
    return 1024 * (1 + 1.2 * min(megapixels, 2) + 0.5 * max(megapixels - 2, 0))


def measure(plan: Plan) -> Part:
    """Each in a process of its own, with all that a run does."""
    output = plan.folder / "restored.mp4"
    tried: list[tuple[str, Size]] = [("lite", size) for size in plan.growing]
    tried += [(preset, plan.sizes[0]) for preset in plan.presets if preset != "lite"]
    sizes = []
    for preset, size in tried:
        clip = plan.drawn(size, _FRAMES)
        found = peak(clip, output, str(plan.checkpoint(preset)), plan.device)
        promised = bound_mib(size) if preset == "lite" else None
        sizes.append(
            {"preset": preset, "size": named(size), "bound_mib": promised, **asdict(found)}
        )
    rows = [
        (
            *(str(each["preset"]), str(each["size"])),
            figure(each["mib"]),
            figure(each["bound_mib"]),
            figure(each["gpu_mib"]) if plan.where.type == "cuda" else "-",
        )
        for each in sizes
    ]
    table = Table(
        "Peak memory of deblur run",
        ("network", "size", "MiB", "promised, MiB", "GPU, MiB"),
        rows,
        names=2,
        note=f"Resident memory at most, in a process of its own, {_FRAMES} frames with sound.",
    )
    by_length = []
    size = plan.growing[0]
    for seconds in plan.lengths_s:
        clip = plan.drawn(size, round(seconds * RATE))
        found = peak(clip, output, str(plan.checkpoint("lite")), plan.device)
        by_length.append({"video_s": seconds, "size": named(size), **asdict(found)})
    first = by_length[0]["mib"]
    longer = Table(
        "Peak memory by length",
        ("video, s", "size", "MiB", "over the shortest"),
        [
            (
                *(figure(each["video_s"]), str(each["size"])),
                figure(each["mib"]),
                figure(each["mib"] / first),
            )
            for each in by_length
        ],
    )
    return Part({"sizes": sizes, "lengths": by_length}, [table, longer])
