"""Measuring versions of blurred frames on sets of pairs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import tee
from statistics import fmean
from typing import TypeAlias

import torch
from torch import Tensor

from weights.evaluate.pairs import Frame, PairsError, PairSet
from weights.evaluate.quality import (
    Quality,
    Reference,
    gradient_energy,
    mean,
    psnr,
    to_frame,
    to_tensor,
)
from weights.evaluate.temporal import TemporalConsistency, Video

Restore: TypeAlias = Callable[[Tensor], Tensor]
"""(N, 3, H, W) RGB in 0..1, blurred in, restored out."""
Versions: TypeAlias = Callable[[Iterable[Frame]], Iterator[Mapping[str, Tensor]]]
"""The frames of one sequence, in order, to what was made of each, by name: (1, 3, H, W) RGB of the
frame's size, what is beyond 0..1 counting as 0 and 1. It reads no farther ahead than it must."""


@dataclass(frozen=True)
class Figures:
    """Means over frames, by version; PSNR in dB."""

    pairs: int
    psnr: dict[str, float]
    gain: dict[str, float]
    """By how much PSNR is above that of the first version, of all others."""
    ssim: dict[str, float]


@dataclass(frozen=True)
class SharpFidelity:
    """What fused frames are against the sharp ones that they were made of; PSNR in dB."""

    psnr: float
    """Mean over frames."""
    worst: float
    """PSNR of the frame that suffers most."""
    lost: float
    """The largest loss of gradient energy of any frame, in percent; negative: none has lost."""


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
    """That of the network alone; None where it was not measured."""
    harm: SharpFidelity | None
    """None where nothing is fused, and where it was not measured."""
    steadiness: TemporalConsistency | None
    """None in the row of all sets, and for sets of one frame."""


@dataclass(frozen=True)
class _Kept:
    """What became of a sharp frame."""

    psnr: float
    lost: float


@dataclass(frozen=True)
class _Result:
    """Everything measured on one pair, by version."""

    plain: dict[str, Quality]
    aligned: dict[str, Quality]
    """Empty for pixel-aligned pairs."""
    converged: bool
    kept: dict[str, _Kept]
    """Empty where it was not measured."""


@torch.inference_mode()
def measure(
    versions: Versions,
    pairs: Sequence[PairSet],
    *,
    identity: Versions | None,
    on_pair: Callable[[], None],
) -> list[Row]:
    """Measure what is made of blurred frames; `versions` is called for each sequence.

    `identity` is called for each sequence of sharp frames: its `restored` are measured as the
    network's, its `fused` as those of the whole chain. Returns a row for each set, and a last one,
    `all`, with the means over all frames. `on_pair` is called after each pair. Raises `PairsError`
    for pairs that cannot be read.
    """
    if not pairs:
        raise PairsError("there are no pairs to evaluate")
    rows, everything = [], []
    for one in pairs:
        results, video = [], Video()
        for blurred, sharp, made, kept in _sequence(versions, one, identity):
            reference = Reference(sharp, blurred, pixel_aligned=one.pixel_aligned)
            results.append(_result(made, reference, sharp, kept))
            video.add(blurred, sharp, {name: to_frame(image) for name, image in made.items()})
            on_pair()
        rows.append(_row(one.name, results, video.result()))
        everything += results
    return [*rows, _row("all", everything, None)]


def _sequence(
    versions: Versions, pairs: PairSet, identity: Versions | None
) -> Iterator[tuple[Frame, Frame, dict[str, Tensor], dict[str, Tensor]]]:
    """Each pair, what was made of its blurred frame, and what of its sharp one.

    Only as many pairs are held as are read ahead.
    """
    these, blurred, sharp = tee(pairs.read(), 3)
    made = versions(pair[0] for pair in blurred)
    kept = identity(pair[1] for pair in sharp) if identity else ({} for _ in sharp)
    for pair, one, other in zip(these, made, kept, strict=True):
        yield *pair, _within(one), _within(other)


def _within(images: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # The figures are computed on the CPU, so that they compare between devices.
    return {name: image.clamp(0, 1).cpu() for name, image in images.items()}


def _result(
    made: Mapping[str, Tensor], reference: Reference, sharp: Frame, kept: Mapping[str, Tensor]
) -> _Result:
    target = to_tensor(sharp)
    aligned = {name: reference.aligned(image) for name, image in made.items()}
    return _Result(
        plain={name: reference.plain(image) for name, image in made.items()},
        aligned={name: quality for name, quality in aligned.items() if quality},
        converged=reference.converged,
        kept={
            name: _Kept(psnr(image, target), _lost(image, target)) for name, image in kept.items()
        },
    )


def _lost(image: Tensor, target: Tensor) -> float:
    """How much less gradient energy an image has, in percent."""
    there = gradient_energy(target)
    return 100 * (1 - gradient_energy(image) / there) if there else 0.0


def _row(name: str, results: Sequence[_Result], steadiness: TemporalConsistency | None) -> Row:
    aligned = [result.aligned for result in results if result.aligned]
    alone = [result.kept["restored"].psnr for result in results if "restored" in result.kept]
    return Row(
        name=name,
        plain=_figures([result.plain for result in results]),
        aligned=_figures(aligned) if aligned else None,
        unaligned=sum(not result.converged for result in results),
        identity_psnr=fmean(alone) if alone else None,
        harm=_harm([result.kept["fused"] for result in results if "fused" in result.kept]),
        steadiness=steadiness,
    )


def _harm(kept: Sequence[_Kept]) -> SharpFidelity | None:
    if not kept:
        return None
    found = [one.psnr for one in kept]
    return SharpFidelity(fmean(found), min(found), max(one.lost for one in kept))


def _figures(measured: Sequence[Mapping[str, Quality]]) -> Figures:
    first, *others = measured[0]
    means = {name: mean([one[name] for one in measured]) for name in (first, *others)}
    return Figures(
        pairs=len(measured),
        psnr={name: quality.psnr for name, quality in means.items()},
        gain={name: means[name].psnr - means[first].psnr for name in others},
        ssim={name: quality.ssim for name, quality in means.items()},
    )
