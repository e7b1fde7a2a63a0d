"""What was measured, as tables of at most 100 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from weights.evaluate.measure import Figures, Row
from weights.evaluate.temporal import TemporalConsistency
from weights.evaluate.upscaler import PictureRow

_NAMES = {"blurred": "before", "restored": "after"}
"""What versions are called in headings, where that is not their name."""


def restored(rows: Sequence[Row]) -> RenderableType:
    """All figures of a restorer: PSNR and SSIM, how steady sequences are, and what sharp frames
    suffer, as far as it was measured."""
    parts: list[RenderableType] = [_quality(rows)]
    if found := [(row.name, row.steadiness) for row in rows if row.steadiness]:
        parts += ["", _steadiness(found)]
    if any(row.harm or row.identity_psnr is not None for row in rows):
        parts += ["", _sharp(rows)]
    return Group(*parts)


def _quality(rows: Sequence[Row]) -> Table:
    versions = [_NAMES.get(name, name) for name in rows[0].plain.psnr]
    headings = ["pairs", "PSNR\nbefore"]
    for name in versions[1:]:
        headings += ["after", "gain"] if name == "after" else [f"{name}\ngain"]
    headings += ["SSIM\nbefore", *versions[1:], "not\naligned"]
    table = _table(["set"], headings)
    for row in rows:
        table.add_row(row.name, *_cells(row.plain), "")
        if row.aligned:
            table.add_row("  aligned", *_cells(row.aligned), str(row.unaligned))
    return table


def _cells(figures: Figures) -> list[str]:
    return [
        str(figures.pairs),
        *(f"{figures.psnr[name]:.2f}" for name in _NAMES if name in figures.psnr),
        *(f"{gain:+.2f}" for gain in figures.gain.values()),
        *(f"{value:.4f}" for value in figures.ssim.values()),
    ]


def _steadiness(measured: Sequence[tuple[str, TemporalConsistency]]) -> Table:
    first = measured[0][1]
    versions = [_NAMES.get(name, name) for name in first.tof]
    fused = "fused" in first.tof
    against = "after" if "after" in versions else "before"
    headings = ["steps", "E_warp\nbefore", *versions[1:], "sharp"]
    headings += [f"fused\n/ {against}"] if fused else []
    table = _table(["sequence"], [*headings, "tOF\nbefore", *versions[1:]])
    for name, steady in measured:
        ratio = [_optional(steady.ratio.get("fused"), 2)] if fused else []
        errors = [f"{error:.3f}" for error in steady.e_warp.values()]
        distances = [f"{distance:.3f}" for distance in steady.tof.values()]
        table.add_row(name, str(steady.pairs), *errors, *ratio, *distances)
    return table


def _sharp(rows: Sequence[Row]) -> Table:
    alone = any(row.identity_psnr is not None for row in rows)
    fused = any(row.harm for row in rows)
    headings = ["identity PSNR\nof the network"] if alone else []
    headings += ["identity PSNR\nof all", "worst\nframe", "gradient energy\nlost"] if fused else []
    table = _table(["sharp frames of"], headings)
    for row in rows:
        cells = [_optional(row.identity_psnr, 2)] if alone else []
        if row.harm:
            cells += [f"{row.harm.psnr:.2f}", f"{row.harm.worst:.2f}", f"{row.harm.lost:+.2f} %"]
        table.add_row(row.name, *cells)
    return table


def enlarged(rows: Sequence[Row]) -> Table:
    """All figures of a restorer and an upscaler together."""
    aligned = any(row.aligned for row in rows)
    headings = ["pairs", "PSNR", "SSIM", *(["aligned\nPSNR", "SSIM"] if aligned else [])]
    headings += ["not\naligned"] if aligned else []
    table = _table(["set", "frames"], [*headings, "E_warp", "ratio", "tOF"])
    for row in rows:
        steady = row.steadiness
        for index, name in enumerate([*row.plain.psnr, *(["sharp"] if steady else [])]):
            first = index == 0
            cells = [row.name if first else "", name, str(row.plain.pairs) if first else ""]
            for figures in (row.plain, row.aligned) if aligned else (row.plain,):
                cells.append(_optional(figures.psnr.get(name) if figures else None, 2))
                cells.append(_optional(figures.ssim.get(name) if figures else None, 4))
            if aligned:
                cells.append(str(row.unaligned) if first and row.aligned else "")
            if steady:
                cells.append(f"{steady.e_warp[name]:.3f}")
                cells.append(_optional(steady.ratio.get(name), 2))
                cells.append(_optional(steady.tof.get(name), 3))
            table.add_row(*cells)
    return table


def pictures(rows: Sequence[PictureRow]) -> Table:
    """All figures of an upscaler alone."""
    headings = ["pictures", "PSNR", "SSIM", "made smaller\nagain, PSNR", "overshoot", "phase\nbias"]
    table = _table(["set", "method"], headings)
    for row in rows:
        for index, (name, figures) in enumerate(row.methods.items()):
            table.add_row(
                "" if index else row.name,
                name,
                "" if index else str(row.pictures),
                f"{figures.psnr:.2f}",
                f"{figures.ssim:.4f}",
                f"{figures.consistency:.2f}",
                f"{figures.overshoot:.2f} %",
                f"{figures.phase_bias:.3f}",
            )
    return table


def _table(names: Sequence[str], headings: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    first, *others = names
    table.add_column(first, overflow="fold", vertical="bottom")
    for name in others:
        table.add_column(name, no_wrap=True, vertical="bottom")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True, vertical="bottom")
    return table


def _optional(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
