"""What a camera and a codec do to frames after the shutter: noise, mosaic, compression."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

Image = NDArray[np.float32]
"""(H, W, 3) RGB in 0..1, with even sides."""
Picture = NDArray[np.uint8]
"""(H, W, 3) RGB, with even sides."""

# Shot and read noise of three cameras: (variance per unit of light, variance).
# RSBlur (Rim et al., ECCV 2022), table of noise parameters.
_NOISE = ((8.9e-5, 2.9e-5), (1e-4, 9.2e-4), (2.3e-5, 1.9e-4))
_GAMMA = 2.2
# Without these swscale cuts off what it should round, which darkens by more than a code.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_CROSS = np.array([[0, 1, 0], [1, 4, 1], [0, 1, 0]], np.float32) / 4
_SQUARE = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4


@dataclass(frozen=True)
class CameraSettings:
    """Shares of the clips, all in 0..1."""

    noise: float = 0.50
    """Sensor noise, through a Bayer mosaic."""
    h264: float = 0.45
    """Compressed by H.264, as a sequence."""
    jpeg: float = 0.15
    """Compressed by JPEG, frame by frame, of a quality between 40 and 97."""
    subsampled: float = 0.85
    """Chroma at half the resolution, as in nearly all video, in the sharp picture as well: chroma
    that the output cannot hold is nothing to learn."""
    lowest_crf: int = 16
    """H.264's least compression."""
    highest_crf: int = 32
    """H.264's strongest compression."""


def sensor(
    frames: Sequence[Image], settings: CameraSettings, rng: np.random.Generator
) -> list[Image]:
    """Put sensor noise on the frames of a share of the clips."""
    if rng.random() >= settings.noise:
        return list(frames)
    # The white balance amplifies red and blue.
    balance = np.array([rng.uniform(1.9, 2.4), 1.0, rng.uniform(1.5, 1.9)], np.float32)
    shot, read = _NOISE[int(rng.integers(len(_NOISE)))]
    # From a sunny day to a lamp; what a camera's own denoiser leaves is at the lower end.
    level = 10 ** rng.uniform(-2.5, 0.0)
    per_light = np.float32(level * shot * rng.uniform(0.5, 1.5))
    fixed = np.float32(level * min(read, 2e-4))
    dy, dx = (int(k) for k in rng.integers(0, 2, 2))
    made = []
    for frame in frames:
        light = np.asarray(cv2.pow(np.clip(frame, 0, 1), _GAMMA), np.float32)
        # Which color each pixel of the mosaic sees.
        grain = np.zeros_like(light)
        noise = rng.standard_normal(light.shape[:2], np.float32)
        for color, y, x in ((0, dy, dx), (1, dy, 1 - dx), (1, 1 - dy, dx), (2, 1 - dy, 1 - dx)):
            seen = light[y::2, x::2, color] / balance[color]
            deviation = np.sqrt(seen * per_light + fixed) * balance[color]
            grain[y::2, x::2, color] = deviation * noise[y::2, x::2]
        # Bilinear demosaicing is linear, so the noise can go through it alone. The picture itself
        # must not: cameras demosaic better than that, and its softness would be learned as blur.
        for color, kernel in enumerate((_SQUARE, _CROSS, _SQUARE)):
            light[..., color] += cv2.filter2D(grain[..., color], -1, kernel)
        made.append(np.asarray(cv2.pow(np.clip(light, 0, 1), 1 / _GAMMA), np.float32))
    return made


def subsample(image: Image) -> Image:
    """Halve the chroma's resolution."""
    height, width = image.shape[:2]
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    less = cv2.resize(ycc[..., 1:], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    ycc[..., 1:] = cv2.resize(less, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB), np.float32)


def codes(image: Image) -> Picture:
    """To 8 bits."""
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)


def compress(
    frames: Sequence[Picture], settings: CameraSettings, rng: np.random.Generator
) -> list[Picture]:
    """Send the frames of a clip through H.264, JPEG or neither."""
    kind = rng.random()
    if kind < settings.h264:
        return _h264(frames, settings, rng)
    if kind < settings.h264 + settings.jpeg:
        quality = int(rng.integers(40, 98))
        return [_jpeg(frame, quality) for frame in frames]
    return list(frames)


def _h264(
    frames: Sequence[Picture], settings: CameraSettings, rng: np.random.Generator
) -> list[Picture]:
    """Encode frames as a video does: the key frame that they are predicted from is before them."""
    height, width = frames[0].shape[:2]
    earlier = np.roll(frames[0], rng.integers(-3, 4, 2), axis=(0, 1))
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = width, height, "yuv420p"
    codec.framerate = Fraction(30)
    codec.thread_count = 1
    crf = int(rng.integers(settings.lowest_crf, settings.highest_crf + 1))
    codec.options = {"preset": "veryfast", "crf": str(crf), "tune": "zerolatency"}
    packets = []
    for index, picture in enumerate((earlier, *frames)):
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame = frame.reformat(format="yuv420p", interpolation=_EXACT, threads=1)
        frame.pts = index
        packets += codec.encode(frame)
    packets += codec.encode(None)
    data = io.BytesIO(b"".join(bytes(packet) for packet in packets))
    with av.open(data, "r", format="h264") as container:
        container.streams.video[0].codec_context.thread_count = 1
        decoded = list(container.decode(video=0))[-len(frames) :]
    return [
        np.asarray(
            frame.reformat(format="rgb24", interpolation=_EXACT, threads=1).to_ndarray(), np.uint8
        )
        for frame in decoded
    ]


def _jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
