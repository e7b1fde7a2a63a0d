"""Measuring versions of blurred frames on sets of pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

import torch
from torch import Tensor

from weights.evaluate.pairs import Frame, PairsError, PairSet
from weights.evaluate.quality import Quality, Reference, mean, psnr, to_frame, to_tensor
from weights.evaluate.temporal import Steadiness, Video

Restore: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB in 0..1, blurred in, restored out."""
Versions: TypeAlias = Callable[[Frame], Mapping[str, Tensor]]
"""A blurred frame to what was made of it, by name: each (1, 3, H, W) RGB of the frame's size, what
is beyond 0..1 counting as 0 and 1. Called for the frames of one sequence in order."""


@dataclass(frozen=True)
class Figures:
    """Means over frames, by version; PSNR in dB."""

    pairs: int
    psnr: dict[str, float]
    gain: dict[str, float]
    """By how much PSNR is above that of the first version, of all others."""
    ssim: dict[str, float]


@dataclass(frozen=True)
class Row:
    """What was measured on one set, or on the frames of all sets together."""

    name: str
    plain: Figures
    aligned: Figures | None
    """None for pixel-aligned pairs; in the row of all sets, over the pairs that are not."""
    unaligned: int
    """Pairs that ECC failed to align; they count in `aligned` as they are."""
    identity_psnr: float | None
    """None where it was not measured."""
    steadiness: Steadiness | None
    """None in the row of all sets, and for sets of one frame."""


@dataclass(frozen=True)
class _Result:
    """Everything measured on one pair, by version."""

    plain: dict[str, Quality]
    aligned: dict[str, Quality]
    """Empty for pixel-aligned pairs."""
    converged: bool
    identity: float | None


@torch.inference_mode()
def measure(
    begin: Callable[[], Versions],
    pairs: Sequence[PairSet],
    *,
    identity: Restore | None,
    on_pair: Callable[[], None],
) -> list[Row]:
    """Measure what is made of blurred frames; `begin` is called before each sequence.

    `identity` is the restorer whose identity PSNR is measured. Returns a row for each set, and a
    last one, `all`, with the means over all frames. `on_pair` is called after each pair. Raises
    `PairsError` for pairs that cannot be read.
    """
    if not pairs:
        raise PairsError("there are no pairs to evaluate")
    rows, everything = [], []
    for one in pairs:
        results, video, versions = [], Video(), begin()
        for blurred, sharp in one.read():
            # The figures are computed on the CPU, so that they compare between devices.
            made = {name: x.clamp(0, 1).cpu() for name, x in versions(blurred).items()}
            reference = Reference(sharp, blurred, pixel_aligned=one.pixel_aligned)
            results.append(_result(made, reference, sharp, identity))
            video.add(blurred, sharp, {name: to_frame(image) for name, image in made.items()})
            on_pair()
        rows.append(_row(one.name, results, video.result()))
        everything += results
    return [*rows, _row("all", everything, None)]


def _result(
    made: Mapping[str, Tensor], reference: Reference, sharp: Frame, identity: Restore | None
) -> _Result:
    target = to_tensor(sharp)
    aligned = {name: reference.aligned(image) for name, image in made.items()}
    return _Result(
        plain={name: reference.plain(image) for name, image in made.items()},
        aligned={name: quality for name, quality in aligned.items() if quality},
        converged=reference.converged,
        identity=psnr(identity(target).cpu(), target) if identity else None,
    )


def _row(name: str, results: Sequence[_Result], steadiness: Steadiness | None) -> Row:
    aligned = [result.aligned for result in results if result.aligned]
    identities = [result.identity for result in results if result.identity is not None]
    return Row(
        name=name,
        plain=_figures([result.plain for result in results]),
        aligned=_figures(aligned) if aligned else None,
        unaligned=sum(not result.converged for result in results),
        identity_psnr=fmean(identities) if identities else None,
        steadiness=steadiness,
    )


def _figures(measured: Sequence[Mapping[str, Quality]]) -> Figures:
    first, *others = measured[0]
    means = {name: mean([one[name] for one in measured]) for name in (first, *others)}
    return Figures(
        pairs=len(measured),
        psnr={name: quality.psnr for name, quality in means.items()},
        gain={name: means[name].psnr - means[first].psnr for name in others},
        ssim={name: quality.ssim for name, quality in means.items()},
    )
