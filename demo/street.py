"""The street that the demo films: an optician's shop front and a van, drawn from nothing.

Everything is placed on a canvas of 2000 x 1240 pixels. Most of it is small text and fine texture,
the two things that blur takes away first and that are easiest to judge when they come back.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Letterbox = NDArray[np.uint8]
"""(H, W, 3) encoded RGB."""
Mask = NDArray[np.uint8]
"""(H, W), 255 where something is."""
Color = tuple[int, int, int]
"""Encoded RGB, each in 0..255."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom; the last two are the first pixels outside."""

WIDTH, HEIGHT = 2000, 1240
CENTER = (960.0, 692.0)
"""What the camera is pointed at: x, y."""
VAN_TOP = 758
"""The y of the van picture's upper edge on the street."""

_PLAIN = cv2.FONT_HERSHEY_SIMPLEX
_BOLD = cv2.FONT_HERSHEY_TRIPLEX
_INK = (38, 34, 40)
_CREAM = (238, 228, 204)
_GOLD = (226, 184, 92)
_GREEN = (24, 66, 54)
_STONE = (196, 184, 164)


def street(rng: np.random.Generator) -> Letterbox:
    """Draw the street without the van, (1240, 2000, 3)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    _bricks(image, (0, 0, WIDTH, 900), rng)
    for left in (60, 420, 780, 1140, 1700):
        _sash_window(image, (left, 30, left + 190, 286), rng)
    _stone(image, (0, 318, WIDTH, 350), rng)
    _shadow(image, (0, 350, WIDTH, 362), 10, 0.5)
    _shop(image, rng)
    _neighbors(image, rng)
    _ground(image, rng)
    _plant(image, (262, 905), rng)
    _lamp_post(image, 1400)
    # The sun stands to the upper left: the far right and the road are a little darker.
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    _scale(image, (0, 0, WIDTH, HEIGHT), 1.06 - 0.14 * x / WIDTH - 0.06 * y / HEIGHT)
    return image


def van() -> tuple[Letterbox, Mask]:
    """Draw the van that drives through, facing right: picture (330, 520, 3) and mask (330, 520).

    The wheels stand at y = 304; below lies the van's shadow, which is in part transparent.
    """
    image = np.full((330, 520, 3), 16, np.uint8)
    mask = np.zeros((330, 520), np.uint8)
    body = [(14, 262), (14, 40), (28, 22), (330, 22), (352, 30), (412, 128), (478, 150)]
    body += [(488, 170), (488, 262)]
    cv2.ellipse(mask, (262, 300), (236, 16), 0, 0, 360, 150, -1, cv2.LINE_AA)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 5), np.uint8)
    for at in (100, 398):
        cv2.circle(mask, (at, 262), 42, 255, -1, cv2.LINE_AA)
    _polygon(mask, body, 255)
    painted = np.zeros_like(mask)
    _polygon(painted, body, 255)
    rows = np.linspace(1.04, 0.8, 330)[:, None, None]
    paint = np.clip(np.array([240, 232, 214]) * rows, 0, 255)
    image[:] = np.where(painted[..., None] > 0, paint, image).astype(np.uint8)
    cv2.rectangle(image, (14, 182), (488, 214), (178, 44, 40), -1)
    _text(image, "the early loaf", (170, 206), 20, _CREAM, _PLAIN)
    _text(image, "FRESH BREAD", (172, 92), 34, (150, 40, 36), _BOLD, 280)
    _text(image, "baked at dawn, at your door by 7", (172, 132), 14, _INK, _PLAIN)
    _text(image, "tel. 555 0142", (172, 162), 16, (150, 40, 36), _BOLD)
    pane = [(338, 48), (350, 48), (396, 124), (398, 136), (338, 136)]
    _polygon(image, pane, (44, 58, 68))
    _polygon(image, [(341, 52), (348, 52), (372, 96), (341, 112)], (120, 148, 160))
    cv2.line(image, (330, 34), (330, 252), (150, 142, 128), 2, cv2.LINE_AA)
    cv2.line(image, (412, 140), (412, 252), (150, 142, 128), 2, cv2.LINE_AA)
    cv2.rectangle(image, (14, 244), (488, 262), (52, 50, 54), -1)
    cv2.rectangle(image, (470, 160), (488, 178), (250, 240, 190), -1)
    cv2.rectangle(image, (14, 150), (22, 176), (200, 30, 30), -1)
    cv2.rectangle(image, (344, 156), (362, 162), (90, 86, 84), -1)
    for at in (100, 398):
        cv2.circle(image, (at, 258), 50, (40, 38, 42), -1, cv2.LINE_AA)
        cv2.circle(image, (at, 262), 42, (26, 26, 30), -1, cv2.LINE_AA)
        cv2.circle(image, (at, 262), 24, (176, 176, 182), -1, cv2.LINE_AA)
        cv2.circle(image, (at, 262), 24, (90, 90, 96), 3, cv2.LINE_AA)
        for angle in np.arange(5) * 2 * np.pi / 5 + 0.3:
            bolt = (round(at + 13 * np.cos(angle)), round(262 + 13 * np.sin(angle)))
            cv2.circle(image, bolt, 4, (60, 60, 66), -1, cv2.LINE_AA)
    return image, mask


def _shop(image: Letterbox, rng: np.random.Generator) -> None:
    """The optician's: fascia, awning, two windows, a door between them."""
    cv2.rectangle(image, (352, 356), (1318, 900), _GREEN, -1)
    _grain(image, (352, 356, 1318, 900), 0.05, rng)
    _panel(image, (360, 362, 1310, 452), (30, 82, 66))
    _text(image, "SHARP & SONS", (835, 424), 50, (12, 36, 30), _BOLD)
    _text(image, "SHARP & SONS", (832, 421), 50, _GOLD, _BOLD)
    _text(image, "OPTICIANS", (466, 404), 20, _GOLD, _BOLD)
    _text(image, "since 1887", (466, 432), 17, _CREAM, _PLAIN)
    _text(image, "EYES TESTED", (1200, 404), 18, _GOLD, _BOLD)
    _text(image, "while you wait", (1200, 432), 17, _CREAM, _PLAIN)

    _glass(image, (392, 470, 812, 820), rng)
    _eye_chart(image, (424, 540, 596, 800))
    _spectacle_shelves(image, (616, 548, 796, 806), rng)
    _door(image, (850, 470, 1030, 900), rng)
    _glass(image, (1066, 470, 1282, 820), rng)
    _books(image, (1072, 548, 1276, 816), rng)
    for left, right in ((384, 820), (1058, 1290)):
        cv2.rectangle(image, (left, 462), (right, 828), (16, 46, 38), 7, cv2.LINE_AA)
        cv2.rectangle(image, (left + 4, 466), (right - 4, 824), (52, 112, 92), 2, cv2.LINE_AA)
        _checkers(image, (left, 838, right, 898), 15, (216, 206, 180), (34, 84, 70))
        _shadow(image, (left, 836, right, 842), 4, 0.5)
    _awning(image, (372, 456, 1298, 530), 26)


def _neighbors(image: Letterbox, rng: np.random.Generator) -> None:
    """What is left and right of the shop: posters, a street name, ivy, a window."""
    for left in (318, 1324):
        _stone(image, (left, 352, left + 30, 900), rng)
        _shadow(image, (left + 30, 352, left + 36, 900), 6, 0.4)
    cv2.rectangle(image, (1428, 392), (1630, 448), (232, 232, 226), -1)
    cv2.rectangle(image, (1432, 396), (1626, 444), (20, 48, 120), -1)
    _text(image, "LENS LANE", (1529, 430), 26, (240, 240, 236), _BOLD, 176)
    _shadow(image, (1428, 448, 1630, 452), 4, 0.5)
    _chess_poster(image, (1440, 500, 1618, 800))
    _sash_window(image, (1770, 470, 1960, 780), rng)
    _leaves(
        image,
        [(1684, 630, 34, 280), (1700, 860, 66, 80), (1975, 400, 50, 150)],
        2600,
        rng,
    )
    _sash_window(image, (30, 480, 216, 780), rng)


def _ground(image: Letterbox, rng: np.random.Generator) -> None:
    _cobbles(image, (0, 900, WIDTH, 1010), rng)
    _shadow(image, (0, 898, WIDTH, 908), 10, 0.55)
    _stone(image, (0, 1010, WIDTH, 1032), rng)
    image[1032:] = (88, 88, 92)
    _grain(image, (0, 1032, WIDTH, HEIGHT), 0.13, rng)
    _shadow(image, (0, 1032, WIDTH, 1038), 6, 0.6)
    for left in range(40, WIDTH, 260):
        cv2.rectangle(image, (left, 1150), (left + 130, 1164), (206, 202, 190), -1)
    _grain(image, (0, 1150, WIDTH, 1164), 0.08, rng)


# Textures.


def _noise(height: int, width: int, slope: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise whose amplitude falls as 1/f**slope: (height, width), mean 0, deviation 1."""
    spectrum = np.fft.rfft2(rng.standard_normal((height, width), np.float32))
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum *= np.maximum(np.hypot(fy, fx), 1 / max(height, width)) ** -slope
    field = np.fft.irfft2(spectrum, (height, width))
    field -= field.mean()
    return np.asarray(field / field.std(), np.float32)


def _scale(image: Letterbox, box: Box, factor: NDArray[np.float32]) -> None:
    """Multiply a box of the picture by `factor`, (H, W) or (H, W, 3)."""
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    wide = factor if factor.ndim == 3 else factor[..., None]
    part[:] = np.clip(part * wide + 0.5, 0, 255).astype(np.uint8)


def _grain(image: Letterbox, box: Box, amount: float, rng: np.random.Generator) -> None:
    field = _noise(box[3] - box[1], box[2] - box[0], 0.55, rng)
    _scale(image, box, 1 + np.float32(amount) * field)


def _shadow(image: Letterbox, box: Box, soft: int, strength: float) -> None:
    """Darken a box by `strength` in 0..1, fading out over about `soft` pixels around it."""
    left, top = max(box[0] - 2 * soft, 0), max(box[1] - 2 * soft, 0)
    right, bottom = (
        min(box[2] + 2 * soft, image.shape[1]),
        min(box[3] + 2 * soft, image.shape[0]),
    )
    dark = np.zeros((bottom - top, right - left), np.float32)
    dark[box[1] - top : box[3] - top, box[0] - left : box[2] - left] = strength
    dark = cv2.GaussianBlur(dark, (0, 0), soft / 2).astype(np.float32)
    _scale(image, (left, top, right, bottom), 1 - dark)


def _grid(box: Box, tile: tuple[int, int]) -> tuple[NDArray[np.int64], ...]:
    """Tiles in running bond: row, column, and place inside the tile (y, x), each (H, W)."""
    width, height = tile
    y, x = np.mgrid[0 : box[3] - box[1], 0 : box[2] - box[0]]
    row = y // height
    x = x + row % 2 * (width // 2)
    return row, x // width, y % height, x % width


def _bricks(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    row, column, y, x = _grid(box, (58, 22))
    count = (int(row.max()) + 1, int(column.max()) + 1)
    clay = np.array([[166, 92, 70], [150, 78, 60], [178, 108, 82], [134, 74, 62], [186, 122, 92]])
    colors = clay[rng.integers(0, len(clay), count)] * rng.uniform(0.88, 1.08, (*count, 1))
    picture = colors[row, column]
    # Lit along the upper edge, dark along the lower.
    picture *= (1 + 0.14 * (y < 5) - 0.2 * (y > 17))[..., None]
    mortar = (y < 3) | (x < 3)
    picture[mortar] = (188, 176, 158)
    image[box[1] : box[3], box[0] : box[2]] = np.clip(picture, 0, 255).astype(np.uint8)
    _grain(image, box, 0.07, rng)
    # Weather: wide stains on top of the grain.
    height, width = box[3] - box[1], box[2] - box[0]
    stains = cv2.resize(_noise(height // 8, width // 8, 1.4, rng), (width, height))
    _scale(image, box, 1 + np.float32(0.05) * stains.astype(np.float32))


def _cobbles(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    row, column, y, x = _grid(box, (40, 22))
    count = (int(row.max()) + 1, int(column.max()) + 1)
    gray = rng.uniform(112, 176, (*count, 1)) * np.array([1.0, 0.97, 0.92])
    across, down = (x - 20) / 19, (y - 11) / 10
    edge = across**4 + down**4
    dome = np.clip(1.12 - 0.16 * down - 0.1 * across - 0.5 * edge, 0.3, 1.3)
    picture = gray[row, column] * np.where(edge > 1, 0.42, dome)[..., None]
    image[box[1] : box[3], box[0] : box[2]] = np.clip(picture, 0, 255).astype(np.uint8)
    _grain(image, box, 0.1, rng)


def _stone(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), _STONE, -1)
    tall = bottom - top > right - left
    for joint in range(top if tall else left, bottom if tall else right, 110):
        start, end = ((left, joint), (right, joint)) if tall else ((joint, top), (joint, bottom))
        cv2.line(image, start, end, (134, 124, 110), 2)
    cv2.rectangle(image, (left, top), (right - 1, top + 3), (224, 214, 196), -1)
    _grain(image, box, 0.07, rng)


def _glass(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    """A pane with a dim room behind it and the sky's reflection in slanting bands."""
    left, top, right, bottom = box
    y, x = np.mgrid[0 : bottom - top, 0 : right - left].astype(np.float32)
    depth = (y / (bottom - top))[..., None]
    room = np.array([58, 74, 84]) * (1 - depth) + np.array([104, 92, 74]) * depth
    band = np.sin((x + 0.6 * y) / 62 + float(rng.uniform(0, 6)))
    room = room + (34 * np.clip(band - 0.35, 0, 0.5))[..., None] * np.array([0.8, 1.0, 1.15])
    image[top:bottom, left:right] = room.astype(np.uint8)


def _leaves(image: Letterbox, clumps: Sequence[Box], count: int, rng: np.random.Generator) -> None:
    """Foliage: leaves spread around clumps (x, y, width, height), the sunny ones on top."""
    share = np.array([float(w * h) for _, _, w, h in clumps])
    which = rng.choice(len(clumps), count, p=share / share.sum())
    order = np.sort(rng.random(count))
    for clump, light in zip(which, order, strict=True):
        x, y, width, height = clumps[clump]
        radius, angle = np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        # Sunny leaves lie toward the light, dark ones behind and below.
        at_x = x + width * (radius * np.cos(angle) - 0.2 * (light - 0.5))
        at_y = y + height * (radius * np.sin(angle) - 0.3 * (light - 0.5))
        turn, long = rng.uniform(0, 2 * np.pi), rng.uniform(7, 13)
        along = np.array([-1.0, -0.3, 0.4, 1.0, 0.4, -0.3]) * long
        wide = np.array([0.0, 0.42, 0.34, 0.0, -0.34, -0.42]) * long
        points = np.stack(
            [
                at_x + along * np.cos(turn) - wide * np.sin(turn),
                at_y + along * np.sin(turn) + wide * np.cos(turn),
            ],
            axis=1,
        )
        tint = rng.uniform(-14, 14)
        color = (40 + 96 * light + tint, 66 + 104 * light + tint / 2, 34 + 34 * light)
        cv2.fillConvexPoly(image, np.round(points).astype(np.int32), color, cv2.LINE_AA)


# Shapes and lettering.


def _polygon(image: NDArray[np.uint8], points: Sequence[tuple[int, int]], color: object) -> None:
    ink = (float(color),) if isinstance(color, int) else color
    cv2.fillPoly(image, [np.array(points, np.int32)], ink, cv2.LINE_AA)  # type: ignore[call-overload]


def _text(
    image: Letterbox,
    words: str,
    at: tuple[int, int],
    height: int,
    color: Color,
    font: int,
    room: int = WIDTH,
) -> None:
    """Write `words` centered on `at` (x, baseline y) with capitals about `height` pixels high.

    Lettering that would be wider than `room` is made smaller.
    """
    scale = height / 22
    thick = max(1, round(scale * 2)) if font == _BOLD else 1
    width = cv2.getTextSize(words, font, scale, thick)[0][0]
    if width > room:
        scale *= room / width
        width = cv2.getTextSize(words, font, scale, thick)[0][0]
    cv2.putText(
        image,
        words,
        (at[0] - width // 2, at[1]),
        font,
        scale,
        color,
        thick,
        cv2.LINE_AA,
    )


def _panel(image: Letterbox, box: Box, color: Color) -> None:
    """A raised board with a gold line around it."""
    left, top, right, bottom = box
    cv2.rectangle(image, (left, top), (right, bottom), color, -1)
    cv2.rectangle(image, (left, top), (right, top + 4), (70, 134, 112), -1)
    cv2.rectangle(image, (left + 10, top + 10), (right - 10, bottom - 10), _GOLD, 2, cv2.LINE_AA)
    _shadow(image, (left, bottom, right, bottom + 4), 5, 0.5)


def _checkers(image: Letterbox, box: Box, side: int, light: Color, dark: Color) -> None:
    left, top, right, bottom = box
    y, x = np.mgrid[0 : bottom - top, 0 : right - left]
    odd = ((y // side + x // side) % 2)[..., None]
    image[top:bottom, left:right] = np.where(odd, dark, light).astype(np.uint8)


def _sash_window(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    white = (226, 220, 206)
    _shadow(image, (left - 12, top - 10, right + 16, bottom + 20), 10, 0.45)
    cv2.rectangle(image, (left - 12, top - 10), (right + 12, bottom + 4), white, -1)
    _glass(image, box, rng)
    for side, way in ((left, 1), (right, -1)):
        for fold in range(6):
            near, far = side + way * fold * 9, side + way * (fold * 9 + 8)
            tone = 206 - 12 * (fold % 2) - 5 * fold
            tip = bottom - 10 * fold
            _polygon(
                image,
                [(near, top), (far, top), (far, tip), (near, tip)],
                (tone, tone - 8, tone - 26),
            )
    middle_x, middle_y = (left + right) // 2, (top + bottom) // 2
    cv2.line(image, (middle_x, top), (middle_x, bottom), white, 6)
    cv2.line(image, (left, middle_y), (right, middle_y), white, 9)
    cv2.line(image, (left, middle_y + 6), (right, middle_y + 6), (120, 116, 108), 2)
    _shadow(image, (left, top, right, top + 8), 8, 0.5)
    _stone(image, (left - 22, bottom + 4, right + 22, bottom + 22), rng)
    _shadow(image, (left - 22, bottom + 22, right + 22, bottom + 27), 5, 0.5)


def _awning(image: Letterbox, box: Box, stripe: int) -> None:
    """Striped cloth that ends in scallops, and the shadow under it."""
    left, top, right, bottom = box
    _shadow(image, (left + 8, bottom, right, bottom + 26), 14, 0.5)
    for index, x in enumerate(range(left, right, stripe)):
        color = (190, 52, 46) if index % 2 else (240, 232, 214)
        end = min(x + stripe, right)
        cv2.rectangle(image, (x, top), (end - 1, bottom - 8), color, -1)
        middle = ((x + end) // 2, bottom - 8)
        cv2.ellipse(image, middle, ((end - x) // 2, 13), 0, 0, 180, color, -1, cv2.LINE_AA)
    y = np.linspace(0, 1, bottom - 8 - top, dtype=np.float32)[:, None]
    across = np.ones((1, right - left), np.float32)
    _scale(image, (left, top, right, bottom - 8), (1.04 - 0.2 * y) * across)
    cv2.line(image, (left, bottom - 10), (right, bottom - 10), (120, 40, 36), 2, cv2.LINE_AA)


def _eye_chart(image: Letterbox, box: Box) -> None:
    left, top, right, bottom = box
    cv2.rectangle(image, (left, top), (right, bottom), (246, 244, 236), -1)
    cv2.rectangle(image, (left, top), (right, bottom), (120, 96, 60), 4, cv2.LINE_AA)
    middle, line = (left + right) // 2, top + 10
    for letters, height in (
        ("E", 48), ("F P", 36), ("T O Z", 28), ("L P E D", 22), ("P E C F D", 17),
        ("E D F C Z P", 13), ("F E L O P Z D", 10),
    ):  # fmt: skip
        line += height + 8
        _text(image, letters, (middle, line), height, _INK, _BOLD)
    cv2.line(image, (left + 14, line + 10), (right - 14, line + 10), (190, 40, 40), 3)


def _spectacles(image: Letterbox, at: tuple[int, int], color: Color, round_ones: bool) -> None:
    x, y = at
    for side in (-1, 1):
        lens = (x + side * 20, y)
        axes = (15, 14) if round_ones else (17, 11)
        cv2.ellipse(image, lens, axes, 0, 0, 360, (186, 206, 214), -1, cv2.LINE_AA)
        cv2.ellipse(image, lens, axes, 0, 0, 360, color, 4, cv2.LINE_AA)
        cv2.line(
            image,
            (lens[0] - 6, y + 3),
            (lens[0] + 3, y - 6),
            (244, 250, 252),
            2,
            cv2.LINE_AA,
        )
        cv2.line(image, (x + side * 36, y - 4), (x + side * 42, y - 8), color, 4, cv2.LINE_AA)
    cv2.line(image, (x - 5, y - 3), (x + 5, y - 3), color, 4, cv2.LINE_AA)


def _spectacle_shelves(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    frames = [(36, 36, 42), (150, 44, 44), (122, 78, 40), (32, 74, 120), (196, 150, 60)]
    cv2.rectangle(image, (left, top), (right, bottom), (214, 200, 172), -1)
    _grain(image, (left, top, right, bottom), 0.05, rng)
    for shelf in range(4):
        y = top + 46 + shelf * 64
        cv2.rectangle(image, (left, y), (right, y + 6), (112, 78, 48), -1)
        _shadow(image, (left, y + 6, right, y + 10), 5, 0.4)
        for place in range(2):
            x = left + 46 + place * 88
            color = frames[int(rng.integers(len(frames)))]
            _spectacles(image, (x, y - 20), color, bool((shelf + place) % 2))
            price = f"${int(rng.integers(4, 20)) * 10 - 1}"
            cv2.rectangle(image, (x - 17, y - 2), (x + 17, y + 14), (250, 246, 230), -1)
            _text(image, price, (x, y + 11), 11, (150, 30, 30), _PLAIN)


def _books(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    """Two shelves of boxes and books with printed spines, and a notice."""
    left, top, right, bottom = box
    hues = [
        (160, 50, 44),
        (36, 84, 116),
        (208, 164, 72),
        (60, 104, 70),
        (224, 214, 190),
    ]
    hues += [(96, 58, 104), (44, 44, 52)]
    for base in (top + 150, bottom - 6):
        x = left + 4
        while x < right - 24:
            width, tall = int(rng.integers(15, 27)), int(rng.integers(84, 112))
            color = hues[int(rng.integers(len(hues)))]
            cv2.rectangle(image, (x, base - tall), (x + width - 2, base), color, -1)
            ink = _INK if sum(color) > 420 else _CREAM
            for band in (10, 16, tall - 14):
                cv2.line(image, (x, base - band), (x + width - 2, base - band), ink, 2)
            for letter in range(3, tall // 8):
                reach = int(rng.integers(2, max(width // 3, 3)))
                spot = (x + width // 2 - reach, base - letter * 6 - 8)
                cv2.line(image, spot, (spot[0] + 2 * reach - 2, spot[1]), ink, 2)
            x += width
        cv2.rectangle(image, (left, base), (right, base + 7), (96, 66, 42), -1)
    cv2.rectangle(image, (left + 52, bottom - 84), (left + 190, bottom - 22), (248, 244, 232), -1)
    _text(image, "READ AGAIN", (left + 121, bottom - 60), 16, (150, 30, 30), _BOLD)
    _text(image, "lenses from $29", (left + 121, bottom - 36), 12, _INK, _PLAIN)


def _door(image: Letterbox, box: Box, rng: np.random.Generator) -> None:
    left, top, right, bottom = box
    cv2.rectangle(image, (left, top), (right, bottom), (120, 40, 36), -1)
    _grain(image, (left, top, right, bottom), 0.05, rng)
    _glass(image, (left + 26, top + 80, right - 26, top + 290), rng)
    cv2.rectangle(image, (left + 24, top + 78), (right - 26, top + 290), (80, 24, 22), 5)
    cv2.rectangle(image, (left + 28, top + 312), (right - 28, bottom - 26), (92, 28, 26), 4)
    cv2.rectangle(image, (left + 38, top + 322), (right - 38, bottom - 36), (146, 58, 50), 3)
    middle = (left + right) // 2
    cv2.line(
        image,
        (middle, top + 92),
        (middle - 44, top + 126),
        (60, 60, 60),
        2,
        cv2.LINE_AA,
    )
    cv2.line(
        image,
        (middle, top + 92),
        (middle + 44, top + 126),
        (60, 60, 60),
        2,
        cv2.LINE_AA,
    )
    cv2.rectangle(image, (middle - 56, top + 124), (middle + 56, top + 178), _CREAM, -1)
    cv2.rectangle(image, (middle - 52, top + 128), (middle + 52, top + 174), (30, 96, 66), 2)
    _text(image, "OPEN", (middle, top + 161), 26, (30, 96, 66), _BOLD, 88)
    for line, words in enumerate(("Mon to Fri 9 - 6", "Saturday 10 - 4", "Sunday: resting")):
        _text(image, words, (middle, top + 210 + 22 * line), 12, _CREAM, _PLAIN)
    _text(image, "27", (middle, top + 310), 15, _GOLD, _BOLD)
    cv2.circle(image, (right - 16, top + 262), 8, _GOLD, -1, cv2.LINE_AA)
    cv2.circle(image, (right - 18, top + 259), 3, (255, 244, 206), -1, cv2.LINE_AA)
    cv2.rectangle(image, (middle - 40, top + 338), (middle + 40, top + 350), _GOLD, -1)


def _chess_poster(image: Letterbox, box: Box) -> None:
    left, top, right, bottom = box
    _shadow(image, (left + 4, top + 6, right + 6, bottom + 6), 5, 0.45)
    cv2.rectangle(image, (left, top), (right, bottom), (236, 206, 118), -1)
    middle = (left + right) // 2
    _text(image, "CHESS CLUB", (middle, top + 38), 24, (70, 30, 26), _BOLD, 156)
    _text(image, "every Tuesday, 7 pm", (middle, top + 64), 14, _INK, _PLAIN, 156)
    _checkers(
        image,
        (middle - 72, top + 80, middle + 72, top + 224),
        18,
        (248, 240, 220),
        (70, 30, 26),
    )
    _text(image, "upstairs at no. 31", (middle, top + 252), 15, _INK, _PLAIN)
    _text(image, "beginners welcome", (middle, top + 278), 14, (150, 40, 36), _PLAIN, 156)


def _plant(image: Letterbox, at: tuple[int, int], rng: np.random.Generator) -> None:
    """A bay tree in a pot; `at` is where the pot stands."""
    x, y = at
    _shadow(image, (x - 40, y + 62, x + 90, y + 76), 10, 0.5)
    cv2.line(image, (x, y), (x, y - 180), (84, 62, 44), 13, cv2.LINE_AA)
    pot = [(x - 52, y - 18), (x + 52, y - 18), (x + 38, y + 74), (x - 38, y + 74)]
    _polygon(image, pot, (176, 96, 62))
    cv2.rectangle(image, (x - 58, y - 30), (x + 58, y - 8), (190, 108, 72), -1)
    cv2.line(image, (x - 58, y - 6), (x + 58, y - 6), (110, 56, 36), 4)
    _grain(image, (x - 58, y - 30, x + 58, y + 74), 0.06, rng)
    _leaves(image, [(x, y - 240, 84, 112)], 1500, rng)


def _lamp_post(image: Letterbox, x: int) -> None:
    iron = (34, 38, 40)
    _shadow(image, (x + 12, 360, x + 22, 1000), 8, 0.35)
    cv2.rectangle(image, (x - 7, 250), (x + 7, 1000), iron, -1)
    cv2.line(image, (x - 3, 250), (x - 3, 1000), (92, 98, 100), 2)
    for y, wide in ((470, 13), (700, 13), (900, 18), (985, 24)):
        cv2.rectangle(image, (x - wide, y), (x + wide, y + 15), iron, -1)
        cv2.line(image, (x - wide, y + 2), (x + wide, y + 2), (92, 98, 100), 2)
    _polygon(
        image,
        [(x - 22, 250), (x + 22, 250), (x + 34, 150), (x - 34, 150)],
        (244, 232, 190),
    )
    _polygon(image, [(x - 40, 150), (x + 40, 150), (x, 104)], iron)
    cv2.line(image, (x, 150), (x, 250), iron, 4)
