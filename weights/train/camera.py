"""What a camera and a codec do to a picture after the shutter: noise, mosaic, compression."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Shot and read noise of three cameras: (variance per unit of light, variance).
# RSBlur (Rim et al., ECCV 2022), table of noise parameters.
_NOISE = ((8.9e-5, 2.9e-5), (1e-4, 9.2e-4), (2.3e-5, 1.9e-4))
_GAMMA = 2.2
# BT.601, full range: only there and back again, to halve the chroma's resolution.
_TO_YUV = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


@dataclass(frozen=True)
class CameraSettings:
    """Shares of the samples, all in 0..1."""

    noise: float = 0.50
    """Sensor noise, through a Bayer mosaic."""
    h264: float = 0.45
    """Compressed by H.264."""
    jpeg: float = 0.15
    """Compressed by JPEG, of a quality between 40 and 97."""
    subsampled: float = 0.85
    """Chroma at half the resolution, as in nearly all video, in the sharp picture as well: chroma
    that the output cannot hold is nothing to learn."""
    lowest_crf: int = 16
    """H.264's least compression."""
    highest_crf: int = 32
    """H.264's strongest compression."""


def sensor(images: Tensor, settings: CameraSettings, rng: np.random.Generator) -> Tensor:
    """Put sensor noise on a share of (N, 3, H, W) images with even sides, RGB in 0..1."""
    noisy = np.flatnonzero(rng.random(len(images)) < settings.noise)
    if not len(noisy):
        return images
    device, (height, width) = images.device, images.shape[-2:]
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    where = torch.from_numpy(noisy).to(device)
    light = images[where].clamp(0, 1) ** _GAMMA

    # Which color each pixel of the mosaic sees; the white balance amplifies red and blue.
    masks = torch.zeros((len(noisy), 3, height, width), device=device)
    for mask in masks:
        dy, dx = (int(k) for k in rng.integers(0, 2, 2))
        mask[0, dy::2, dx::2] = 1
        mask[2, 1 - dy :: 2, 1 - dx :: 2] = 1
        mask[1] = 1 - mask[0] - mask[2]
    one = np.ones(len(noisy))
    balance = np.stack([rng.uniform(1.9, 2.4, len(noisy)), one, rng.uniform(1.5, 1.9, len(noisy))])
    gains = (masks * _column(balance.T, device)).sum(1, keepdim=True)
    mosaic = (light * masks).sum(1, keepdim=True) / gains

    shot, read = np.array(_NOISE)[rng.integers(len(_NOISE), size=len(noisy))].T
    # From a sunny day to a lamp; what a camera's own denoiser leaves is at the lower end.
    level = 10 ** rng.uniform(-2.5, 0.0, len(noisy))
    per_light = _column((level * shot * rng.uniform(0.5, 1.5, len(noisy)))[:, None], device)
    fixed = _column((level * np.minimum(read, 2e-4))[:, None], device)
    deviation = (mosaic * per_light + fixed).sqrt() * gains
    grain = torch.randn(mosaic.shape, generator=generator, device=device) * deviation
    # Bilinear demosaicing is linear, so the noise can go through it alone. The picture itself
    # must not: cameras demosaic better than that, and its softness would be learned as blur.
    result = images.clone()
    result[where] = (light + _demosaic(grain * masks)).clamp(0, 1) ** (1 / _GAMMA)
    return result


def _demosaic(mosaic: Tensor) -> Tensor:
    """Bilinear, (N, 3, H, W) with zeros where a color was not sampled."""
    # As sums of shifted images, five times as fast on a CPU as the same convolution in torch.
    padded = F.pad(mosaic, (1, 1, 1, 1))
    beside = padded[..., :-2] + padded[..., 2:]
    rows = padded[..., 1:-1] + 0.5 * beside
    color = rows[..., 1:-1, :] + 0.5 * (rows[..., :-2, :] + rows[..., 2:, :])
    green = padded[:, 1]
    cross = green[:, :-2, 1:-1] + green[:, 2:, 1:-1] + beside[:, 1, 1:-1]
    color[:, 1] = mosaic[:, 1] + 0.25 * cross
    return color


def subsample(images: Tensor) -> Tensor:
    """Halve the chroma's resolution of (N, 3, H, W) images with even sides, RGB in 0..1."""
    matrix = torch.tensor(_TO_YUV)
    back = torch.linalg.inv(matrix).to(images.device)
    yuv = torch.einsum("ij,njhw->nihw", matrix.to(images.device), images)
    small = F.avg_pool2d(yuv[:, 1:], 2)
    yuv[:, 1:] = F.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False)
    return torch.einsum("ij,njhw->nihw", back, yuv)


def compress(
    image: NDArray[np.uint8], settings: CameraSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Send one (H, W, 3) picture with even sides through H.264, JPEG or neither."""
    kind = rng.random()
    if kind < settings.h264:
        return _h264(image, settings, rng)
    if kind < settings.h264 + settings.jpeg:
        return _jpeg(image, int(rng.integers(40, 98)))
    return image


def _h264(
    image: NDArray[np.uint8], settings: CameraSettings, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Encode two pictures as a video does, a key frame and one predicted from it."""
    height, width = image.shape[:2]
    shift = [int(k) for k in rng.integers(-3, 4, 2)]
    earlier = np.roll(image, shift, axis=(0, 1))
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(30)
    codec.thread_count = 1
    crf = int(rng.integers(settings.lowest_crf, settings.highest_crf + 1))
    codec.options = {"preset": "veryfast", "crf": str(crf), "tune": "zerolatency"}
    packets = []
    for index, picture in enumerate((earlier, image)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", threads=1)
        frame.pts = index
        packets += codec.encode(frame)
    packets += codec.encode(None)
    data = io.BytesIO(b"".join(bytes(packet) for packet in packets))
    with av.open(data, "r", format="h264") as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(container.decode(video=0))
    return np.asarray(frames[-1].reformat(format="rgb24", threads=1).to_ndarray(), np.uint8)


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _column(values: NDArray[np.float64], device: torch.device) -> Tensor:
    """(N, C) numbers as a float32 (N, C, 1, 1) tensor."""
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, :, None, None]
