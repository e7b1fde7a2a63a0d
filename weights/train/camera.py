"""What a camera and a codec do to a picture after the shutter: noise, mosaic, compression."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) RGB in 0..1."""

# Shot and read noise of three cameras: (variance per unit of light, variance).
# RSBlur (Rim et al., ECCV 2022), table of noise parameters.
_NOISE = ((8.9e-5, 2.9e-5), (1e-4, 9.2e-4), (2.3e-5, 1.9e-4))


@dataclass(frozen=True)
class CameraSettings:
    """Shares of the samples, all in 0..1."""

    noise: float = 0.50
    h264: float = 0.45
    jpeg: float = 0.15


def degrade(image: Image, settings: CameraSettings, rng: np.random.Generator) -> Image:
    """Put sensor noise and compression on a picture, (H, W, 3) with even sides."""
    if rng.random() < settings.noise:
        image = _sensor(image, rng)
    kind = rng.random()
    if kind < settings.h264:
        return _h264(image, rng)
    if kind < settings.h264 + settings.jpeg:
        return _jpeg(image, int(rng.integers(40, 98)))
    return image


def _sensor(image: Image, rng: np.random.Generator) -> Image:
    """Noise on the raw mosaic, white balanced and demosaiced with the picture."""
    light = np.clip(image, 0, 1) ** np.float32(2.2)
    height, width = light.shape[:2]
    dy, dx = (int(k) for k in rng.integers(0, 2, 2))
    red = np.s_[dy::2, dx::2]
    blue = np.s_[1 - dy :: 2, 1 - dx :: 2]
    balance = np.ones((height, width), np.float32)
    balance[red] = rng.uniform(1.9, 2.4)
    balance[blue] = rng.uniform(1.5, 1.9)
    mosaic = light[..., 1].copy()
    mosaic[red] = light[..., 0][red]
    mosaic[blue] = light[..., 2][blue]
    mosaic /= balance

    shot, read = _NOISE[rng.integers(len(_NOISE))]
    # From a sunny day to a lamp; what a camera's own denoiser leaves is at the lower end.
    level = 10 ** rng.uniform(-1.7, 0.1)
    variance = level * (mosaic * shot * rng.uniform(0.5, 1.5) + min(read, 2e-4))
    noise = rng.standard_normal((height, width), np.float32) * np.sqrt(variance) * balance
    # Bilinear demosaicing is linear, so the noise can go through it alone. The picture itself
    # must not: cameras demosaic better than that, and its softness would be learned as blur.
    coded = np.clip(noise * 65535 + 32768, 0, 65535).astype(np.uint16)
    # OpenCV names a pattern by the second row's second and third pixel.
    pattern = {
        (0, 0): cv2.COLOR_BayerBG2RGB,
        (0, 1): cv2.COLOR_BayerGB2RGB,
        (1, 0): cv2.COLOR_BayerGR2RGB,
        (1, 1): cv2.COLOR_BayerRG2RGB,
    }[dy, dx]
    spread = (cv2.cvtColor(coded, pattern).astype(np.float32) - 32768) / np.float32(65535)
    out: Image = np.clip(light + spread, 0, 1) ** np.float32(1 / 2.2)
    return out


def _h264(image: Image, rng: np.random.Generator) -> Image:
    """Encode two pictures as a video does, a key frame and one predicted from it."""
    height, width = image.shape[:2]
    whole = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    shift = [int(k) for k in rng.integers(-3, 4, 2)]
    earlier = np.roll(whole, shift, axis=(0, 1))
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(30)
    codec.thread_count = 1
    codec.options = {
        "preset": "veryfast",
        "crf": str(int(rng.integers(16, 33))),
        "tune": "zerolatency",
    }
    packets = []
    for index, picture in enumerate((earlier, whole)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", threads=1)
        frame.pts = index
        packets += codec.encode(frame)
    packets += codec.encode(None)
    data = io.BytesIO(b"".join(bytes(packet) for packet in packets))
    with av.open(data, "r", format="h264") as container:
        container.streams.video[0].codec_context.thread_count = 1
        frames = list(container.decode(video=0))
    rgb = frames[-1].reformat(format="rgb24", threads=1).to_ndarray()
    return np.asarray(rgb / np.float32(255), np.float32)


def _jpeg(image: Image, quality: int) -> Image:
    bgr = cv2.cvtColor(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB) / np.float32(255), np.float32)
