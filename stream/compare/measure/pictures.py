"""Frames as pictures to look at."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from filters import to_rgb
from stream.errors import WriteError
from stream.frame import Frame

Picture = NDArray[np.uint8]
"""(H, W, 3) R'G'B'."""

FONT = cv2.FONT_HERSHEY_SIMPLEX


@torch.inference_mode()
def picture_of(frame: Frame) -> Picture:
    """A frame as it is coded: what the codes of HDR stand for is not translated."""
    rgb = to_rgb([torch.from_numpy(plane) for plane in frame.planes], frame.coding)
    codes = rgb[0].clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    return np.asarray(codes.permute(1, 2, 0).contiguous().numpy())


def fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture at another width and height: averaged to a smaller one, bicubic to a larger."""
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    smaller = width * height < picture.shape[0] * picture.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def enlarged(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture at a larger width and height, pixel for pixel, so that each can be seen."""
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def within(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """A width and height, made smaller where the longer of them is more than `longest`."""
    factor = min(1.0, longest / max(size))
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def labeled(picture: Picture, text: str) -> Picture:
    """A copy of a picture with a small label in its upper left corner."""
    picture = picture.copy()
    scale = max(picture.shape[0] / 1000, 0.4)
    thick = max(round(2 * scale), 1)
    (long, tall), _ = cv2.getTextSize(text, FONT, scale, thick)
    margin = round(tall * 0.6)
    picture[: tall + 2 * margin, : long + 2 * margin] //= 3
    place = margin, tall + margin
    cv2.putText(picture, text, place, FONT, scale, (255, 255, 255), thick, cv2.LINE_AA)
    return picture


def stamp(second: float) -> str:
    """A moment for people, to hundredths of a second."""
    minutes, rest = divmod(max(round(second, 2), 0.0), 60)
    return f"{int(minutes)}:{rest:05.2f}"


def encoded(picture: Picture, ending: str, *options: int) -> bytes:
    """A picture as a file; `ending` is .png or .jpg."""
    done, data = cv2.imencode(ending, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), list(options))
    if not done:
        raise WriteError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be written")
    return bytes(data)


def detail(picture: Picture, size: tuple[int, int]) -> tuple[int, int]:
    """Where the box of a width and height with the most detail is: left and top."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    sums = cv2.integral(np.abs(cv2.Laplacian(luma, cv2.CV_32F)))
    width, height = size
    bands = sums[height:] - sums[:-height]
    boxes = bands[:, width:] - bands[:, :-width]
    top, left = np.unravel_index(int(boxes.argmax()), boxes.shape)
    return int(left), int(top)
