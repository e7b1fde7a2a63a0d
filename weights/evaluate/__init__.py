"""`python -m weights.evaluate`: measure a checkpoint on pairs of blurred and sharp frames.

What the figures are:

- PSNR: `kornia.metrics.psnr`, in dB, over RGB in 0..1, the network's output not rounded to 8 bits;
  the mean over frames of the per-frame value. A value above 100 dB, infinity included, counts as
  100 dB.
- SSIM: `kornia.metrics.ssim` with an 11x11 Gaussian window of sigma 1.5 (fixed in kornia) and
  reflected borders, over RGB in 0..1; the mean of its map, and then over frames.
- Identity PSNR: PSNR(restore(sharp), sharp), so what is lost where there is nothing to restore.
- "before" compares the blurred frame with the sharp one, "after" the restored frame.

Clips that hold blurred, depth and sharp frame side by side (as the samples of DAVIDE do) are real
captures, in which the two views lie up to 1.7 px apart. For these each figure is also given
aligned: the sharp frame is shifted onto the blurred *input* by ECC (Evangelidis and Psarakis, PAMI
2008), once per pair and thus blind to the restorer, and compared without a margin of 4 px on each
side. The last row's aligned figures are means over these clips' frames alone.

The frames of a set are one sequence, in order, for which is also printed:

- E_warp: mean squared difference, times 1000, between a frame and the next one warped back onto it,
  where nothing is occluded; the flow (OpenCV's DIS, medium preset) is that of the blurred input.
  It rewards blur, so that of the sharp frames stands beside it.
- tOF: mean distance in pixels between the flow (Farneback's) of the frames and that of the sharp
  ones.
"""

from weights.evaluate.align import align
from weights.evaluate.measure import Figures, Restore, Row, evaluate
from weights.evaluate.pairs import Frame, Pair, PairsError, PairSet, find_pairs
from weights.evaluate.sheet import sheet
from weights.evaluate.temporal import Steadiness, Video

__all__ = [
    "Figures",
    "Frame",
    "Pair",
    "PairSet",
    "PairsError",
    "Restore",
    "Row",
    "Steadiness",
    "Video",
    "align",
    "evaluate",
    "find_pairs",
    "sheet",
]
