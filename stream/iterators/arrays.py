"""NumPy arrays, tensors and PyAV's frames, to frames of ours and back."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final, Generic, Protocol, TypeVar

import av
import numpy as np
import torch
from numpy.typing import NDArray

from filters import Coding, to_planes, to_rgb
from stream.colors import tags_of
from stream.errors import SourceError
from stream.frame import Frame
from stream.media.convert import Unpacker, has_alpha, to_av

Array = NDArray[Any]
Some = TypeVar("Some", bound=Array | torch.Tensor | av.VideoFrame)
"""What a program has frames as."""

_CODING: Final = Coding(matrix="bt709", full_range=True, depth=16, subsampling=(1, 1))
"""Fine enough that 8 bits of RGB come back as they were."""
_TAKEN = "(H, W, 3) arrays or (3, H, W) tensors of RGB, or PyAV's video frames"
_WHOLE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}


class ArrayConverter(Protocol[Some]):
    """There and back."""

    def there(self, given: Some, number: int) -> Frame:
        """A frame of ours, number `number` of all, from 0. Raises `SourceError`."""
        ...

    def back(self, made: Frame, given: Some) -> Some:
        """What was given, restored."""
        ...


def ways_for(first: object, rate: Fraction) -> "ArrayConverter[Any]":
    """The way there and back for frames like the first one. Raises `SourceError`."""
    if isinstance(first, np.ndarray):
        return _Arrays[Array](first, rate, lambda each: each, lambda each, like: each)
    if isinstance(first, torch.Tensor):
        return _Arrays(first, rate, _array_of, _tensor_like)
    if isinstance(first, av.VideoFrame):
        if first.format.is_rgb or first.format.has_palette:
            deep = max(part.bits for part in first.format.components) > 8
            form = "rgb48le" if deep else "rgb24"
            return _Arrays[av.VideoFrame](
                first,
                rate,
                lambda each: each.to_ndarray(format=form),
                lambda each, like: _like(av.VideoFrame.from_ndarray(each, format=form), like),
            )
        return _Pictures(first, rate)
    raise SourceError(f"{type(first).__name__} is no frame; they are {_TAKEN}")


class _Arrays(Generic[Some]):
    """Whatever can be had as an array (H, W, 3), and made of one."""

    def __init__(
        self,
        first: Some,
        rate: Fraction,
        array_of: Callable[[Some], Array],
        made_of: Callable[[Array, Some], Some],
    ) -> None:
        self._array_of, self._made_of = array_of, made_of
        self._first = array_of(first)
        self._time_base = 1 / rate

    def there(self, given: Some, number: int) -> Frame:
        array, kind = self._array_of(given), self._first.dtype
        if array.shape != self._first.shape or array.dtype != kind:
            raise SourceError(
                f"frame {number} is {_shape(array)}, and the first one was {_shape(self._first)}"
            )
        if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
            raise SourceError(f"frame {number} is {_shape(array)}; frames are {_TAKEN}")
        if kind not in _WHOLE and kind.kind != "f":
            raise SourceError(f"frame {number} is {_shape(array)}; use uint8, uint16 or float")
        rgb = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1), np.float32))
        planes = to_planes(rgb[None] / _WHOLE.get(kind, 1), _CODING)
        return Frame(tuple(each.numpy() for each in planes), _CODING, number, self._time_base)

    def back(self, made: Frame, given: Some) -> Some:
        rgb = to_rgb([torch.from_numpy(plane) for plane in made.planes], made.coding)
        array = rgb[0].clamp_(0, 1).permute(1, 2, 0).numpy()
        kind = self._first.dtype
        if kind in _WHOLE:
            array = np.rint(array * np.float32(_WHOLE[kind]))
        return self._made_of(np.ascontiguousarray(array.astype(kind)), given)


class _Pictures:
    """PyAV's frames of Y'CbCr, or gray."""

    def __init__(self, first: av.VideoFrame, rate: Fraction) -> None:
        self._unpacker = Unpacker(first, alpha=has_alpha(first.format))
        self._form = first.width, first.height, first.format.name
        self._time_base = 1 / rate

    def there(self, given: av.VideoFrame, number: int) -> Frame:
        form = given.width, given.height, given.format.name
        if form != self._form:
            shown = ("{}x{} in {}".format(*each) for each in (form, self._form))
            raise SourceError("frame {} is {}, and the first one was {}".format(number, *shown))
        return self._unpacker.unpack(given, number, self._time_base)

    def back(self, made: Frame, given: av.VideoFrame) -> av.VideoFrame:
        return _like(to_av(made, tags_of(given)), given)


def _like(made: av.VideoFrame, given: av.VideoFrame) -> av.VideoFrame:
    made.pts, made.duration = given.pts, given.duration
    if given.time_base is not None:
        made.time_base = given.time_base
    return made


def _array_of(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.permute(1, 2, 0).numpy() if tensor.ndim == 3 else tensor.numpy()


def _tensor_like(array: Array, given: torch.Tensor) -> torch.Tensor:
    made = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
    return made.to(given.device, given.dtype)


def _shape(array: Array) -> str:
    return f"{'x'.join(map(str, array.shape))} of {array.dtype}"
