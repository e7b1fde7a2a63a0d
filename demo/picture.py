"""The picture that shows what the work has done: before and after, with a magnified detail."""

from pathlib import Path

import cv2
import numpy as np

from demo.video import Picture

_WIDEST, _NARROWEST = 1280, 320
"""Widths in pixels between which a side is shown."""
_ZOOM = 3
_LABEL = (24, 24, 28)
_FRAME = (255, 208, 64)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def before_after(
    before: Picture, after: Picture, path: str | Path, truth: Picture | None = None
) -> None:
    """Write a PNG of `before` and `after` side by side, and `truth` if there is one.

    All are (H, W, 3) of the same size. The detail that differs most is marked, and shown three
    times as large in a corner, at the same place on each side.
    """
    sides = {"BEFORE": before, "AFTER": after}
    if truth is not None:
        sides["ORIGINAL"] = truth
    if any(side.shape != before.shape for side in sides.values()):
        raise ValueError(f"pictures of different sizes: {[s.shape for s in sides.values()]}")
    shown = {label: _fit(side) for label, side in sides.items()}
    box = detail(shown["BEFORE"], shown["AFTER"])
    place = _corner(shown["BEFORE"], shown["AFTER"], box)
    panels = [_panel(label, side, box, place) for label, side in shown.items()]
    gap = np.full((panels[0].shape[0], 6, 3), _LABEL, np.uint8)
    row = [panels[0]]
    for panel in panels[1:]:
        row += [gap, panel]
    done, data = cv2.imencode(".png", cv2.cvtColor(np.hstack(row), cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"OpenCV cannot write a PNG of {before.shape[1]}x{before.shape[0]}")
    Path(path).write_bytes(data.tobytes())


def detail(before: Picture, after: Picture) -> tuple[int, int, int, int]:
    """Find where two pictures differ most: left, top, width and height of a box.

    The box is an eighth of the picture wide, or less where the picture is wide and low.
    """
    height, width = before.shape[:2]
    wide = max(min(width // 8, height // 7 * 4 // 3), 1)
    high = max(wide * 3 // 4, 1)
    change = np.abs(before.astype(np.float32) - after.astype(np.float32)).mean(axis=2)
    # Sums over every box of that size at once. Not too near the edge, where a shaken picture
    # changes for lack of what lies beyond it.
    sums = cv2.integral(change)
    boxes = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    edge_y, edge_x = boxes.shape[0] // 12, boxes.shape[1] // 12
    inner = boxes[edge_y : boxes.shape[0] - edge_y, edge_x : boxes.shape[1] - edge_x]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(left) + edge_x, int(top) + edge_y, wide, high


def _fit(picture: Picture) -> Picture:
    """Scale to a width that can be looked at side by side."""
    width = picture.shape[1]
    scale = min(max(1.0, _NARROWEST / width), _WIDEST / width)
    if scale == 1:
        return picture
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    size = (round(width * scale), max(round(picture.shape[0] * scale), 1))
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _corner(
    before: Picture, after: Picture, box: tuple[int, int, int, int]
) -> tuple[int, int] | None:
    """Where the magnified detail hides least of what changed: left and top, or None.

    It does not cover the detail itself.
    """
    height, width = before.shape[:2]
    left, top, wide, high = box
    long, tall = (side * _ZOOM + 2 * _line(width) for side in (wide, high))
    best: tuple[float, tuple[int, int]] | None = None
    for x in (0, width - long):
        for y in (0, height - tall):
            beside = x + long <= left or left + wide <= x
            above = y + tall <= top or top + high <= y
            if min(x, y) < 0 or not (beside or above):
                continue
            part = np.s_[y : y + tall, x : x + long]
            hidden = float(cv2.absdiff(before[part], after[part]).mean())
            if best is None or hidden < best[0]:
                best = hidden, (x, y)
    return best[1] if best else None


def _line(width: int) -> int:
    """How thick the lines are in a picture so wide, in pixels."""
    return max(2, round(width / 320))


def _panel(
    label: str,
    picture: Picture,
    box: tuple[int, int, int, int],
    place: tuple[int, int] | None,
) -> Picture:
    """One side: a strip with the label, below it the picture with its detail at `place`."""
    width = picture.shape[1]
    left, top, wide, high = box
    line = _line(width)
    image = picture.copy()
    inset = cv2.resize(
        picture[top : top + high, left : left + wide],
        (wide * _ZOOM, high * _ZOOM),
        interpolation=cv2.INTER_CUBIC,
    )
    tall, long = inset.shape[0] + 2 * line, inset.shape[1] + 2 * line
    cv2.rectangle(image, (left, top), (left + wide - 1, top + high - 1), _FRAME, line)
    if place is not None:
        x, y = place
        image[y : y + tall, x : x + long] = _FRAME
        image[y + line : y + tall - line, x + line : x + long - line] = inset
    scale = width / 640
    strip = np.full((max(round(40 * scale), 24), width, 3), _LABEL, np.uint8)
    size, _ = cv2.getTextSize(label, _FONT, scale, max(1, round(2 * scale)))
    at = ((width - size[0]) // 2, (strip.shape[0] + size[1]) // 2)
    ink = (240, 240, 240)
    cv2.putText(strip, label, at, _FONT, scale, ink, max(1, round(2 * scale)), cv2.LINE_AA)
    return np.vstack([strip, image])
