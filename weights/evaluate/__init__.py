"""`python -m weights.evaluate`: measure a checkpoint, an upscaler, or both together.

What the figures are:

- PSNR: `kornia.metrics.psnr`, in dB, over RGB in 0..1, the network's output not rounded to 8 bits;
  the mean over frames of the per-frame value. A value above 100 dB, infinity included, counts as
  100 dB.
- SSIM: `kornia.metrics.ssim` with an 11x11 Gaussian window of sigma 1.5 (fixed in kornia) and
  reflected borders, over RGB in 0..1; the mean of its map, and then over frames.
- "before" compares the blurred frame with the sharp one, "after" what the network alone makes of
  it. "fused" is what `deblur run` makes of the frame: restored, then fused with its neighbors on
  both sides. "causal" is what `deblur live` makes of it, with the frames before it alone. Both pass
  through the stages of `deblur run`, in planes of 16 bits and 4:4:4 (BT.601, full range), which
  lose nothing of 8-bit RGB. Each set is a sequence of its own.
- With `--model none` there is no network, and "after" is left out.
- Sharp frames: the sharp frames of a set, one after another, through the network alone and through
  all that "fused" frames pass through, against themselves: what is lost where there is nothing to
  restore. Identity PSNR is the mean over frames; beside it stands that of the frame that suffers
  most. "Gradient energy lost" is 1 - after / before, in percent, of the frame that loses most; the
  energy is the mean of squared forward differences of luma, across and down. It is negative where
  no frame loses any.

Clips that hold blurred, depth and sharp frame side by side (as the samples of DAVIDE do) are real
captures, in which the two views lie up to 1.7 px apart. For these each figure is also given
aligned: the sharp frame is shifted onto the blurred *input* by ECC (Evangelidis and Psarakis, PAMI
2008), once per pair and thus blind to the restorer, and compared without a margin of 4 px on each
side. The last row's aligned figures are means over these clips' frames alone.

The frames of a set are one sequence, in order, for which is also printed:

- E_warp: mean squared difference, times 1000, between a frame and the next one warped back onto it,
  where nothing is occluded; the flow (OpenCV's DIS, medium preset) is that of the blurred input.
  It rewards blur, so that of the sharp frames stands beside it. The ratio is that of fused frames
  to the same frames restored, or blurred where there is no network.
- tOF: mean distance in pixels between the flow (Farneback's) of the frames and that of the sharp
  ones.

With a model and an upscaler the blurred frames are made three times smaller
(`filters.sampling.third`, rounded to 8 bits), restored, fused and enlarged, in this order and
in 16 bits in between. All of the figures above are those of the enlarged frames at full size;
the flow of E_warp is that of the blurred frames before they were made smaller. "bicubic" is
antialiased, with a = -0.5 (`filters.resize.resampled`).

With an upscaler alone large pictures are compared with what becomes of small ones. Where there are
none these are made by `filters.sampling.third` and rounded to 8 bits. All figures are of luma
(BT.601, 16..235, as a share of 255) after RGB was rounded to 8 bits, and means over pictures:

- PSNR and SSIM as published figures of x3 super-resolution have them: without 3 px on each side,
  SSIM without reflected borders.
- "made smaller again": PSNR of the result, made smaller by `filters.sampling.third`, against the
  small picture, without 1 px on each side.
- Overshoot: percentage of pixels that lie more than 2/255 beyond the darkest and brightest of the
  nine small pixels around them.
- Phase bias: by how much each of the nine pixels that take the place of one is brighter than in the
  bicubic picture, the mean over pictures (without 3 px on each side), in 1/255; the largest
  magnitude of the nine. It tells of a regular pattern once there are many pictures: read that of
  the last row, which is over those of all sets.
- "lanczos" is OpenCV's, over eight pixels, as `filters.Enlarger` has it.

With `--geometry` it is measured instead whether restoring moves things; `Fidelity` says what its
figures are.
"""

from weights.evaluate.align import align
from weights.evaluate.enlarged import Enlarge, UpscaledVersions, evaluate_enlarged
from weights.evaluate.fidelity import Fidelity, evaluate_fidelity
from weights.evaluate.measure import Figures, Restore, Row, SharpFidelity, Versions, measure
from weights.evaluate.pairs import Frame, Pair, PairsError, PairSet, find_pairs
from weights.evaluate.pictures import PictureSet, find_pictures
from weights.evaluate.restored import Restored, evaluate
from weights.evaluate.sheet import sheet
from weights.evaluate.temporal import TemporalConsistency, Video
from weights.evaluate.upscaler import PictureRow, UpscaleFigures, evaluate_upscaler

__all__ = [
    "Enlarge",
    "Fidelity",
    "Figures",
    "Frame",
    "Pair",
    "PairSet",
    "PairsError",
    "PictureRow",
    "PictureSet",
    "Restore",
    "Restored",
    "Row",
    "SharpFidelity",
    "TemporalConsistency",
    "UpscaleFigures",
    "UpscaledVersions",
    "Versions",
    "Video",
    "align",
    "evaluate",
    "evaluate_enlarged",
    "evaluate_fidelity",
    "evaluate_upscaler",
    "find_pairs",
    "find_pictures",
    "measure",
    "sheet",
]
