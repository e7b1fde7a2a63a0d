"""The page of what a soak showed."""

from typing import Any

import numpy as np


def report(figures: dict[str, Any]) -> str:
    """The figures as a page of Markdown."""
    lines = [
        "# A live feed for an hour",
        "",
        f"`python -m tests.trials.soak --minutes {figures['minutes']:g}`, commit "
        f"{figures['commit']}, {figures['date']}: {figures['machine']}, torch "
        f"{figures['versions']['torch']}, PyAV {figures['versions']['av']}.",
        "",
        f"A camera of {figures['size']} pixels and {figures['fps']} frames per second, a clock "
        "drawn into its pictures, publishes to GStreamer's RTSP server; `deblur live` restores it "
        "with `lite`, serves it, publishes it to a second server, and records. Two players stay "
        "connected all the time. The camera and its servers, the players and the feed share the "
        "machine. Camera and server are killed together from time to time, for five seconds.",
        "",
        "## Latency",
        "",
        "From the moment a picture is drawn until a player has decoded it, in ms. The way from the "
        f"camera to a player without the feed takes {figures['transport']['p50_ms']:.0f} (p50) and "
        f"{figures['transport']['p95_ms']:.0f} (p95).",
        "",
        "| minutes | served p50 | served p95 | relayed p50 | relayed p95 | pictures per second |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    served, relayed = (figures["players"][name]["by_minute"] for name in ("served", "relayed"))
    for first in range(0, int(figures["minutes"]), 5):
        cells = [f"{first} to {first + 5}"]
        for rows in (served, relayed):
            chosen = [row for row in rows if first <= row["minute"] < first + 5]
            if not chosen:
                cells += ["", ""]
                continue
            cells.append(f"{np.median([row['p50_ms'] for row in chosen]):.0f}")
            cells.append(f"{np.median([row['p95_ms'] for row in chosen]):.0f}")
        frames = [row["frames"] for row in served if first <= row["minute"] < first + 5]
        cells.append(f"{np.median(frames) / 60:.1f}" if frames else "")
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Medians of the minutes' own percentiles.", "", "## Players", ""]
    lines += [
        "| player | frames | repeated | steps back in time | longest wait | ended early |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for name, each in figures["players"].items():
        lines.append(
            f"| {name} | {each['frames']} | {each['repeats']} | {each['backwards']} | "
            f"{each['longest_wait_s']:.2f} s | {each['ended_early'] or 'no'} |"
        )
    lines += [
        "",
        "Frames that the machine had no time for were dropped; pictures are repeated in their "
        "place, and while the camera is gone.",
        "",
        "## The camera is gone",
        "",
        "| after | it comes back with | first picture, served | relayed | without the feed |",
        "|---:|---|---:|---:|---:|",
    ]
    for kill in figures["kills"]:
        width, height = kill["size"]
        back = " | ".join(
            f"{kill['picture_s'][name]:.2f} s" if name in kill["picture_s"] else ""
            for name in ("served", "relayed", "bare")
        )
        lines.append(f"| {kill['at_s'] / 60:.0f} min | {width}x{height} | {back} |")
    lines += [
        "",
        "From the camera's first picture. The camera's server answers "
        "a player only after its next key frame or two, of which there is one a second.",
        "",
        "## What it takes",
        "",
    ]
    lines += ["| process | after a minute | at the end |", "|---|---:|---:|"]
    for name, (first_rss, last_rss) in figures["processes"].items():
        cells = [f"{rss / 1e6:.0f} MB" if rss else "" for rss in (first_rss, last_rss)]
        lines.append(f"| {shown(name)} | {cells[0]} | {cells[1]} |")
    memory, threads = figures["memory"], figures["threads"]
    change = memory["at_the_end"] / memory["after_a_minute"] - 1
    lines += [
        f"| all | {memory['after_a_minute'] / 1e6:.0f} MB | {memory['at_the_end'] / 1e6:.0f} MB |",
        "",
        f"Memory changed by {change:+.1%} (means of half a minute; what processes share is counted "
        f"in each), threads from {threads['after_a_minute']:.0f} to {threads['at_the_end']:.0f}, "
        f"open files from {figures['files']['after_a_minute']} to {figures['files']['at_the_end']}."
        f" Told to stop, it ended within {figures['ended_within_s']:.1f} s with exit code "
        f"{figures['exit_code']}.",
        "",
    ]
    return "\n".join(lines)


def shown(name: str) -> str:
    """What a process is, from how a sample names it."""
    words = name.split(maxsplit=1)[1].removeprefix("deblur ").split()
    kinds = {"live": "supervisor", "serve": "serving", "rtsp": "publishing", "resource": words[-1]}
    kind = words[0].partition(":")[0]
    return kinds.get(kind, "recording" if "/" in kind else kind)
