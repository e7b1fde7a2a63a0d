"""A calmer path for the camera, and pictures as if they had been taken from it.

Each frame is placed where a line, fitted to where the camera was around its moment, says it should
have been: a mean over past and future that leaves even motion, such as a pan, as it is, also at the
first and last frames of a shot. Places are relative to the frame itself (Matsushita et al.:
"Full-frame video stabilization with motion inpainting", PAMI 2006), so nothing adds up with time.

The pictures are enlarged, so that there is something around them to move them in. What swings
slowly and too far for that is taken out in part, the same part for as long as it swings: a limit
alone would let the picture stand still and jump in turns. The quick part of a correction, the shake
itself, is added whole. In the end all of it is limited, so that nothing outside the picture shows.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from filters.camera import Similarity
from filters.coding import Coding

REACH_S = 1.5
"""How far a frame's place depends on what was before it and what comes after it, in seconds."""
_SLOW_S, _QUICK_S = 0.75, 0.1
"""Standard deviations of the weights along time: of the path, and of what is left of the shake."""
_SLOW_SHARE = 0.6
"""Share of the room that the slow part of a correction may take."""
_SCALE_SHARE, _ANGLE_SHARE = 0.2, 0.4
"""Shares of the room that scaling and turning may take; the rest is left for shifts."""
_SWING = (8 / 3) ** 0.25
"""A sine reaches so many times the fourth root of the mean of its fourth power."""

Correction = NDArray[np.float64]
"""Leads each place of the finished picture to where it is taken from. Places are x and y from -1 to
1, which are the outer edges of the picture, so that it fits any size. As an affine matrix, (2, 3),
or as a grid, (h, w, 2), whose outer points are the corners of the finished picture."""


class Path:
    """The camera's through one shot."""

    def __init__(self, steps: NDArray[np.float64] | None = None) -> None:
        """`steps` are those of another path, with which this one goes on."""
        self.steps = np.zeros((0, 5)) if steps is None else steps
        """(n, 5): the time of each frame, in seconds, and turn and shift since the one before it,
        as real and imaginary parts; never changed in place."""

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, seconds: float, motion: Similarity) -> None:
        """The next frame's time, and the motion since the frame before."""
        turn, shift = motion
        step = [seconds, turn.real, turn.imag, shift.real, shift.imag]
        self.steps = np.vstack([self.steps, step])

    def knows(self, index: int) -> bool:
        """Whether all is known that a frame's correction depends on."""
        return bool(self.steps[-1, 0] >= self.steps[index, 0] + REACH_S)

    def forget(self, index: int, most: int) -> None:
        """Drop what no correction from that of this frame on depends on."""
        self.steps = self.steps[self._around(index, most)[0] :]

    def correction(
        self,
        index: int,
        most: int,
        crop: float,
        shape: float,
        stretch: tuple[float, float] = (1.0, 1.0),
    ) -> Correction:
        """That of a frame, (2, 3), given at `most` so many frames before and after it.

        `crop` is the share of width and height that is given up, in 0..0.5; `shape` the height of
        the picture divided by its width, as it is shown. Where a lens moves the edges of the
        picture farther than its middle, `stretch` says how many times, across and down.
        """
        begin, end = self._around(index, most)
        seconds = self.steps[begin:end, 0] - self.steps[index, 0]
        # Shifts as shares of half the width and half the height.
        cameras = self._cameras(begin, index, end) / [1, 1, 0.5, 0.5 * shape]
        kept = 1 - crop
        # A turn moves the corners of a wide picture more up and down, measured by its height.
        angle_share = _ANGLE_SHARE * min(shape, 1 / shape)
        shifts = 1 / np.array(stretch)
        room = crop * np.array([_SCALE_SHARE / kept, angle_share / kept, *shifts])
        mean, swing = _line(seconds, cameras, _SLOW_S)
        quick, _ = _line(seconds, cameras, _QUICK_S)
        wanted = (mean - quick) * _eased(swing / (_SLOW_SHARE * room)) + quick

        scale, angle = wanted[:2] * _eased(wanted[:2] / room[:2])
        cosine, sine = kept * np.exp(scale) * np.array([np.cos(angle), np.sin(angle)])
        turned = np.array([[cosine, -sine * shape], [sine / shape, cosine]])
        # What is left beside the corners.
        room = (1 - np.abs(turned).sum(axis=1)) * shifts
        return np.column_stack([turned, wanted[2:] * _eased(wanted[2:] / room)])

    def _around(self, index: int, most: int) -> tuple[int, int]:
        near = np.abs(self.steps[:, 0] - self.steps[index, 0]) <= REACH_S
        near &= np.abs(np.arange(len(near)) - index) <= most
        found = np.flatnonzero(near)
        return int(found[0]), int(found[-1]) + 1

    def _cameras(self, begin: int, index: int, end: int) -> NDArray[np.float64]:
        """Where the cameras of the frames around one are, as seen from that one, (n, 4): logarithm
        of the scale, angle, shift across and down."""
        turns, shifts = self.steps[begin:end, 1:].copy().view(np.complex128).T
        index -= begin
        past = _joined(turns[index:0:-1], shifts[index:0:-1])
        future = _joined(*_inverse(turns[index + 1 :], shifts[index + 1 :]))
        return np.concatenate([past[::-1], np.zeros((1, 4)), future])


def _joined(turns: NDArray[Any], shifts: NDArray[Any]) -> NDArray[np.float64]:
    """The first similarity, the first after the second, these after the third, and so on."""
    turned = np.cumsum(turns)
    shifted = np.cumsum(np.exp(turned - turns) * shifts)
    return np.column_stack([turned, shifted]).view(np.float64)


def _inverse(turns: NDArray[Any], shifts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    return -turns, -shifts * np.exp(-turns)


def _line(
    seconds: NDArray[np.float64], values: NDArray[np.float64], sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lines fitted to values, (n, k): what they are at moment 0, and how far values swing, (k).

    Cleveland: "Robust locally weighted regression and smoothing scatterplots", JASA 1979, with
    weights of Gauss.
    """
    weight = np.exp(-((seconds / sigma) ** 2) / 2)
    weight /= weight.sum()
    middle, mean = weight @ seconds, weight @ values
    apart = seconds - middle
    slope = (weight * apart) @ values / max(float(weight @ apart**2), 1e-12)
    left = values - mean - apart[:, None] * slope
    return mean - middle * slope, _SWING * (weight @ left**4) ** 0.25


def _eased(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """What keeps a value below its limit when multiplied with it, given how large a share of the
    limit it is: about 1 for a small one."""
    return np.asarray((1 + ratio**8) ** -0.125, np.float64)


def moved(
    planes: Sequence[NDArray[Any]], coding: Coding, correction: Correction
) -> tuple[NDArray[Any], ...]:
    """The picture in planes of codes, each (h, w), as the correction says; same shapes and dtypes.

    Chroma is sited as in `filters.to_rgb`. By Lanczos' kernel over eight pixels each way.
    """
    height, width = planes[0].shape
    made = []
    for index, plane in enumerate(planes):
        across, down = coding.subsampling if index else (1, 1)
        # From the places of this plane's samples to those of the picture.
        places = np.array(
            [
                [2 * across / width, 0, 1 / width - 1],
                [0, 2 * down / height, down / height - 1],
                [0, 0, 1],
            ]
        )
        take = _taken if correction.ndim == 2 else _taken_by_grid
        taken = take(plane, correction, places)
        made.append(np.minimum(taken, coding.top).astype(plane.dtype, copy=False))
    return tuple(made)


def _taken(plane: NDArray[Any], correction: Correction, places: NDArray[Any]) -> NDArray[Any]:
    matrix = np.linalg.inv(places) @ np.vstack([correction, [0, 0, 1]]) @ places
    return cv2.warpAffine(
        plane,
        matrix[:2],
        plane.shape[::-1],
        flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _taken_by_grid(
    plane: NDArray[Any], correction: Correction, places: NDArray[Any]
) -> NDArray[Any]:
    grid = correction.astype(np.float32)
    for axis, size in ((0, 1), (1, 0)):
        place = places[size, size] * np.arange(plane.shape[axis]) + places[size, 2]
        grid = _between(grid, place, axis)
    x, y = ((grid[..., axis] - places[axis, 2]) / places[axis, axis] for axis in (0, 1))
    return cv2.remap(
        plane,
        x.astype(np.float32),
        y.astype(np.float32),
        cv2.INTER_LANCZOS4,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _between(grid: NDArray[np.float32], place: NDArray[Any], axis: int) -> NDArray[np.float32]:
    """A grid, whose points along an axis lie evenly from -1 to 1, at places along that axis."""
    last = grid.shape[axis] - 1
    at = np.clip((place + 1) / 2 * last, 0, last)
    below = np.minimum(at.astype(int), last - 1)
    shape = [-1 if each == axis else 1 for each in range(grid.ndim)]
    share = (at - below).astype(np.float32).reshape(shape)
    near, far = grid.take(below, axis), grid.take(below + 1, axis)
    return np.asarray(near + share * (far - near), np.float32)
