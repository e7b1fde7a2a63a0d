"""Three times larger, with nothing in the picture that the footage does not support.

What FeatSharp (Ranzinger et al., arXiv 2502.16025) does for features, in image space: what agrees
with every view of the low-resolution truth is kept, what does not is left out.

- The base: every new pixel is a convex combination of the 25 pixels around it, from kernels that
  are chosen for each pixel. It can neither overshoot nor invent.
- The detail: a residual of luma by a small convolutional network, faded by the network's own
  estimate of how far off it is (Kendall, Gal: "What uncertainties do we need?", NeurIPS 2017).
- Exactness: what the result lacks to give the input when made smaller again is added. What lies
  beyond the darkest and brightest of the nine pixels around it in the input, as halos do, is taken
  back, but for what is far beyond: thin lines were brighter or darker than any mean of them.

All of this is done to luma. Color, of which video has a quarter of the samples, is interpolated
and made exact and kept in range in the same way.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from filters.coding import LUMA
from filters.color import luma
from filters.memory import keep_freed
from filters.sampling import FACTOR, PHASES, downscale, interpolate, mirrored, rough, spread

BEYOND = 2 / 255
"""How far a new pixel may lie beyond the darkest and brightest of the nine around it ..."""
_DOUBTED = 6 / 255
"""... and how much of what is farther is taken back."""
MARGIN = 6
"""Pixels mirrored around a picture, so that its edge is made like the rest of it: as far as the
kernels of the base, of making it smaller and of the way back reach together."""
_STRIP = 262_144
"""Pixels of a strip: what is made of them stays in a CPU's cache."""
_LARGE_STRIP = 1_048_576
"""Pixels of a strip of which all is made at once; memory is bounded by it."""


@dataclass(frozen=True)
class UpscalerConfig:
    """What decides every tensor shape of an upscaler."""

    width: int = 32
    """Channels."""
    blocks: int = 2
    """Residual blocks of two 3x3 convolutions."""
    kernels: int = 4
    """Kernels that the base is mixed from."""
    taps: int = 5
    """Their height and width, odd."""


UPSCALERS: Final = {
    "x3-lite": UpscalerConfig(),
    "x3": UpscalerConfig(width=48, blocks=6),
}
"""`x3-lite` for a CPU in real time; `x3` for a GPU."""


class Answer(NamedTuple):
    """What the network says of a picture's luma, each (N, channels, H, W)."""

    mix: Tensor
    """Shares of the kernels, their sum 1; one channel per kernel."""
    detail: Tensor
    """What to add to the base, one channel per phase."""
    doubt: Tensor
    """Logarithm of the expected squared error of the detail, in units of 1/64; one channel."""


class _Block(nn.Module):
    """Two 3x3 convolutions around a PReLU whose slope the whole network shares."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Tensor, slope: Tensor) -> Tensor:
        y: Tensor = self.conv2(F.prelu(self.conv1(x), slope))
        return y.add_(x)


class UpscalerNet(nn.Module):
    """The network of an upscaler.

    It sees contrast alone, and what makes the detail has no bias: a flat picture has none.
    """

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        width, taps = config.width, config.taps
        self.slope = nn.Parameter(torch.full((1,), 0.1))
        self.embed = nn.Conv2d(1, width, 5, padding=2, bias=False)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(config.blocks))
        self.tail = nn.Conv2d(width, PHASES + 1 + config.kernels, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(1 + config.kernels))
        """Of the doubt and of the shares."""
        self.kernels = nn.Parameter(torch.zeros(config.kernels, PHASES, taps * taps))
        """Logarithms of the kernels' weights, by phase."""
        self.gate = nn.Parameter(torch.tensor([2.0, 0.5]))

    def forward(self, light: Tensor) -> Answer:
        """Look at luma, (N, 1, H, W) in 0..1."""
        kernel = self.embed.weight
        kernel = kernel - kernel.mean((2, 3), keepdim=True)
        # Beyond the edge is what is at the edge: nothing would be contrast.
        padded = F.pad(light, (2, 2, 2, 2), mode="replicate").to(kernel.dtype)
        padded = padded.contiguous(memory_format=torch.channels_last)
        x = first = F.prelu(F.conv2d(padded, kernel), self.slope)
        for block in self.blocks:
            x = block(x, self.slope)
        detail, rest = self.tail(x.add_(first) if self.config.blocks else x + first).split(
            [PHASES, 1 + self.config.kernels], dim=1
        )
        doubt, mix = (rest.float() + self.bias.float()[:, None, None]).split(
            [1, self.config.kernels], dim=1
        )
        return Answer(mix.softmax(dim=1), detail, doubt)

    def base(self, light: Tensor, mix: Tensor) -> Tensor:
        """What the kernels make of luma, (N, 1, H, W), less the pixel itself: (N, 9, H, W).

        Half precision can tell differences apart, but not 8-bit values.
        """
        taps = self.config.taps
        kernels = self.kernels.float().softmax(dim=-1).view(-1, 1, taps, taps).clone()
        kernels[:, :, taps // 2, taps // 2] -= 1
        kernels = kernels.to(self.kernels.dtype)
        each = F.conv2d(light.to(kernels.dtype), kernels, padding=taps // 2)
        each = each.view(light.shape[0], self.config.kernels, PHASES, *light.shape[2:])
        mix = mix.to(each.dtype).unsqueeze(2)
        total = each[:, 0] * mix[:, 0]
        for index in range(1, self.config.kernels):
            total = torch.addcmul(total, each[:, index], mix[:, index])
        return total

    def gated(self, answer: Answer) -> Tensor:
        """The detail, faded where it is doubtful."""
        gate = self.gate.float()
        faded: Tensor = answer.detail * torch.sigmoid(gate[0] - gate[1] * answer.doubt).to(
            answer.detail
        )
        return faded

    def enlarge(self, light: Tensor, answer: Answer) -> Tensor:
        """Luma (N, 1, H, W) to (N, 9, H, W): folded by phase, less the pixel itself."""
        change = self.base(light, answer.mix) + self.gated(answer)
        missing = rough(light).to(change.dtype) - downscale(change)
        return kept_in_range(change + spread(missing), light)


def kept_in_range(change: Tensor, low: Tensor) -> Tensor:
    """Keep `low` (N, 1, H, W) plus its change (N, 9, H, W) near what is around each pixel.

    That is the range of the nine pixels around it in `low`, and 2/255 more. Of what lies farther
    6/255 are taken back, or all of it, and it is at most half as far again as the range is wide.
    """
    darkest, brightest = (limit - low for limit in range_around(low))
    half = ((brightest - darkest) / 2).to(change.dtype)
    kept = torch.clamp(
        change, (darkest - BEYOND).to(change.dtype), (brightest + BEYOND).to(change.dtype)
    )
    beyond = change - kept
    # That is softshrink, which not every engine knows.
    return kept + torch.clamp(beyond - beyond.clamp(-_DOUBTED, _DOUBTED), -half, half)


def range_around(low: Tensor) -> tuple[Tensor, Tensor]:
    """The least and greatest of the nine pixels around each; a tenth of `max_pool2d`'s time."""
    low = mirrored(low, 1)

    def around(which: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        rows = which(which(low[:, :, :-2], low[:, :, 1:-1]), low[:, :, 2:])
        return which(which(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])

    return around(torch.minimum), around(torch.maximum)


class Enlarging(nn.Module):
    """The network as one function: luma (N, 1, H, W) to its change by phase, (N, 9, H, W)."""

    def __init__(self, net: UpscalerNet) -> None:
        super().__init__()
        self.net = net

    @property
    def reach(self) -> int:
        """Pixels to each side that a pixel is made of."""
        kernels = 2 + 2 * self.net.config.blocks + 1
        return kernels + MARGIN

    def forward(self, light: Tensor) -> Tensor:
        return self.net.enlarge(light, self.net(light))


class Engine(Protocol):
    """What can run the network in place of PyTorch, such as an `mssnet.Engine`."""

    @property
    def device(self) -> torch.device:
        """Where pictures are to be."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """What the network is computed in."""
        ...

    def compile(self, module: nn.Module) -> Callable[[Tensor], Callable[[], Tensor]]:
        """Make `module` into a function that begins with a picture; what it returns waits for the
        result."""
        ...


def load_upscaler(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    engine: Engine | None = None,
) -> "Upscaler":
    """Build the upscaler in a safetensors file; its sizes are read off the tensors' shapes.

        enlarge = filters.load_upscaler("x3-lite.safetensors", device="cuda", dtype=torch.float16)
        large = enlarge(small)  # (N, 3, H, W) in 0..1 to (N, 3, 3H, 3W)

    `dtype` is what the network computes in. `engine` runs it in place of PyTorch; it takes the
    place of `device` and `dtype`. Raises `ValueError` for a file that does not hold an upscaler's
    weights, `OSError` for one that cannot be read.
    """
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error})") from error
    net = upscaler_from_state_dict(state)
    made = Upscaler(net, engine) if engine is not None else Upscaler(net.to(device, dtype))
    if made.device.type == "cpu":
        keep_freed()
    return made


def upscaler_from_state_dict(state: Mapping[str, Tensor]) -> UpscalerNet:
    """Build the network that `state` belongs to, in evaluation mode.

    Raises `ValueError` when the tensors are not an upscaler's or not finite numbers.
    """
    try:
        kernels = state["kernels"].shape
        config = UpscalerConfig(
            width=state["embed.weight"].shape[0],
            blocks=len({name.split(".")[1] for name in state if name.startswith("blocks.")}),
            kernels=kernels[0],
            taps=math.isqrt(kernels[2]),
        )
        net = UpscalerNet(config)
        net.load_state_dict({name: tensor.float() for name, tensor in state.items()})
    except (KeyError, IndexError, RuntimeError) as error:
        reason = str(error).splitlines()[0].rstrip(":")
        raise ValueError(f"these are not the weights of an upscaler ({reason})") from None
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds values that are not finite numbers")
    return net.eval()


class Upscaler:
    """Makes pictures three times larger."""

    factor = FACTOR
    """How many times as wide and high pictures become."""

    def __init__(self, net: UpscalerNet, engine: Engine | None = None) -> None:
        """`engine` runs the network; None: PyTorch, where and in what the network is."""
        self.net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = net.slope.device if engine is None else engine.device
        self.dtype = net.slope.dtype if engine is None else engine.dtype
        self._enlarging = Enlarging(net)
        self._program = None if engine is None else engine.compile(self._enlarging)

    def __repr__(self) -> str:
        return f"Upscaler({self.net.config}, {self.device}, {self.dtype})"

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Enlarge `image`, (N, 3, H, W) RGB, to (N, 3, 3H, 3W), same dtype.

        The result is clamped to 0..1, or to the range of the image where that goes beyond.
        """
        if image.ndim != 4 or image.shape[1] != 3 or not image.numel():
            raise ValueError(f"image must have shape (N, 3, H, W), got {tuple(image.shape)}")
        if not image.is_floating_point():
            raise ValueError(f"image must hold floating-point values in 0..1, got {image.dtype}")
        low = mirrored(image.to(self.device, torch.float32), MARGIN)
        bounds = _bounds(low)
        # Luma, and how far red and blue are from it.
        light = luma(low)
        colors = torch.cat([low[:, :1] - light, low[:, 2:] - light], dim=1)
        height, width = image.shape[2:]
        large = low.new_empty(len(image), 3, height, FACTOR, width, FACTOR)
        for rows, bright in self._bright(light):
            part = slice(rows.start, rows.stop + 2 * MARGIN)
            inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
            _assemble(
                bright[inner],
                # As all else is laid out: operations on both layouts take three times as long.
                interpolate(colors[:, :, part], self.dtype)[inner].contiguous(),
                light[:, :, part][inner],
                colors[:, :, part],
                large[:, :, rows],
                bounds,
            )
        return large.view(len(image), 3, FACTOR * height, FACTOR * width).to(image.dtype)

    def _bright(self, light: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Strip by strip the rows, counted without the margin, and the change of their luma.

        `light` (N, 1, H, W) has a margin, and so has the change (N, 9, h, W).
        """
        height, width = light.shape[2] - 2 * MARGIN, light.shape[3]
        if self._program is None:
            answer = self.net(light.contiguous(memory_format=torch.channels_last))
            for rows in _strips(height, width, self.device, _STRIP):
                part = slice(rows.start, rows.stop + 2 * MARGIN)
                piece = Answer(*(each[:, :, part] for each in answer))
                yield rows, self.net.enlarge(light[:, :, part], piece)
            return
        for rows in _strips(height, width, self.device, _LARGE_STRIP):
            top = max(rows.start - self._enlarging.reach, 0)
            seen = light[:, :, top : rows.stop + 2 * MARGIN + self._enlarging.reach]
            begin = rows.start - top
            made = self._program(seen)()
            yield rows, made[:, :, begin : begin + rows.stop - rows.start + 2 * MARGIN]


def _bounds(low: Tensor) -> tuple[Any, Any]:
    """The least and the most that a picture's new pixels may be; on a GPU they stay there."""
    least, most = low.amin().clamp(max=0), low.amax().clamp(min=1)
    # With tensors a CPU takes longer.
    return (float(least), float(most)) if low.device.type == "cpu" else (least, most)


def _assemble(
    bright: Tensor,
    color: Tensor,
    light: Tensor,
    colors: Tensor,
    out: Tensor,
    bounds: tuple[Any, Any],
) -> None:
    """Write R'G'B' into `out`, (N, 3, H, 3, W, 3), within `bounds`.

    `bright` (N, 9, H, W) and `color` (N, 18, H, W) are changes by phase, `light` (N, 1, H, W) and
    `colors` (N, 2, H, W and margins) what they change.
    """
    kr, kb = LUMA["bt601"]
    inner = (..., slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    least, most = (limit[inner] for limit in range_around(colors))
    colors, least, most = colors[inner], least.sub_(BEYOND), most.add_(BEYOND)
    for rows in _strips(light.shape[2], light.shape[3], light.device, _STRIP):
        y = bright[:, :, rows].float().add_(light[:, :, rows])
        red, blue = (
            color[:, index * PHASES : (index + 1) * PHASES, rows]
            .float()
            .add_(colors[:, index : index + 1, rows])
            .clamp_(least[:, index : index + 1, rows], most[:, index : index + 1, rows])
            for index in range(2)
        )
        green = y.sub(red, alpha=kr / (1 - kr - kb)).sub_(blue, alpha=kb / (1 - kr - kb))
        for index, plane in enumerate((red.add_(y), green, blue.add_(y))):
            phases = plane.clamp_(*bounds).view(len(plane), FACTOR, FACTOR, *plane.shape[2:])
            out[:, index, rows].copy_(phases.permute(0, 3, 1, 4, 2))


def _strips(height: int, width: int, device: torch.device, pixels: int) -> Iterator[slice]:
    """Rows to work on together; a CPU's cache holds only so many."""
    rows = max(pixels // width, 8) if device.type == "cpu" else height
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
