"""What each step of the live ladder costs and is worth, and what waiting for later frames is.

    python -m tests.trials.ladder --pairs FOLDER [--model lite] [--frames 24]

Pictures pass through the very chain of `deblur live`, in 8 bits and 4:2:0. Times are those of
pictures of 640x360, all ways taking turns; gains are in PSNR over the blurred pictures, of
the first set of pairs in the folder (as `weights.evaluate` takes them), which should be frames in a
row.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean, median

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from filters import codes_of, to_rgb
from stream.compute.models import load_model
from stream.ipc.mailbox import Picture, packed
from stream.live.restore.chain import Chain, Load, frame_of
from stream.live.restore.ladder import Rung
from stream.options.live import LiveRestoreOptions
from weights.evaluate.pairs import find_pairs
from weights.evaluate.quality import Reference

WARM_UP, COUNTED = 8, 30
SIZE = 640, 360
RGB = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="lite")
    parser.add_argument("--frames", type=int, default=24)
    options = parser.parse_args()
    pairs = find_pairs(options.pairs)[0]
    shown = list(islice(pairs.read(), options.frames))
    references = [
        Reference(sharp, blurred, pixel_aligned=pairs.pixel_aligned) for blurred, sharp in shown
    ]
    ways = dict(chains(options.model))
    say = sys.stdout.write
    say("| step | ms per frame | gain |\n|---|---:|---:|\n")
    small = [cv2.resize(blurred, SIZE, interpolation=cv2.INTER_AREA) for blurred, _ in shown]
    spent = costs(list(ways.values()), [np.asarray(each, np.uint8) for each in small])
    for (name, chain), ms in zip(ways.items(), spent, strict=True):
        say(f"| {name} | {ms:.1f} | {gain(chain, [each for each, _ in shown], references):.2f} |\n")
        sys.stdout.flush()


def chains(model: str) -> Iterator[tuple[str, Chain]]:
    """Every step that restores pictures of the camera's size and rate, and a few ways beside."""
    load: Load = partial(load_model, device="cpu", late=False)
    asked = LiveRestoreOptions(model=model)
    steps = Chain(asked, load, 1 << 24).rungs
    for rung in steps:
        if not rung.own and rung.every == 1:
            yield at(asked, load, rung)
    for rung in steps:
        if rung.exits:
            named, chain = at(replace(asked, fuse=0), load, replace(rung, fuse=0))
            yield f"{named} alone (`--fuse 0`)", chain
    for delay in (1, 2):
        for each in (model, "none"):
            waits = replace(asked, model=each, delay=delay)
            yield at(waits, load, Chain(waits, load, 1 << 24).rungs[0])


def at(asked: LiveRestoreOptions, load: Load, rung: Rung) -> tuple[str, Chain]:
    chain = Chain(asked, load, 1 << 24)
    chain.use(rung)
    return str(rung), chain


def pictured(rgb: RGB, index: int) -> Picture:
    """A camera's picture of R'G'B', (H, W, 3)."""
    height, width = rgb.shape[:2]
    empty = Picture(np.zeros((height * 3 // 2, width), np.uint8), 0, 0)
    codes = codes_of(rgb.transpose(2, 0, 1).astype(np.float32), frame_of(empty).coding)
    at_ns = 40_000_000 * (index + 1)
    return Picture(packed(np.asarray(plane, np.uint8) for plane in codes), at_ns, at_ns)


@torch.inference_mode()
def costs(chains: list[Chain], shown: list[RGB]) -> list[float]:
    """The median time of a picture, in ms, of each."""
    spent: list[list[float]] = [[] for _ in chains]
    for index, rgb in enumerate(islice(cycle(shown), WARM_UP + COUNTED)):
        picture = pictured(rgb, index)
        for chain, times in zip(chains, spent, strict=True):
            begun = time.perf_counter()
            chain.push(picture)
            times.append(1e3 * (time.perf_counter() - begun))
    for chain in chains:
        chain.forget()
    return [median(times[WARM_UP:]) for times in spent]


def gain(chain: Chain, shown: list[RGB], references: list[Reference]) -> float:
    """In dB, the mean over pictures."""
    given = [pictured(rgb, index) for index, rgb in enumerate(shown)]
    made = [each.picture for picture in given for each in chain.push(picture)]
    made += [each.picture for each in chain.forget()]
    gains = []
    for before, after, reference in zip(given, made, references, strict=True):
        known = [
            to_rgb([torch.from_numpy(plane) for plane in each.planes], frame_of(each).coding)
            for each in (before, after)
        ]
        qualities = [reference.aligned(image) or reference.plain(image) for image in known]
        gains.append(qualities[1].psnr - qualities[0].psnr)
    return fmean(gains)


if __name__ == "__main__":
    main()
