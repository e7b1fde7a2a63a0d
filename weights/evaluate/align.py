"""Bringing two views of the same scene together."""

import cv2
import numpy as np
from numpy.typing import NDArray

from weights.evaluate.pairs import Frame

_FARTHEST = 3.0
"""Pixels: a farther shift would, interpolated bicubically, show the border inside the margin."""


def align(sharp: Frame, blurred: Frame) -> tuple[NDArray[np.float32], bool]:
    """Shift the sharp frame onto the blurred one.

    Returns it as (H, W, 3) RGB in 0..255, its border repeated outwards, and True; or as it was,
    and False, where ECC fails or finds a shift of more than 3 px.
    """
    # Sigma 2 takes away most of what tells the two apart, and the noise; ECC itself does not mind
    # differences in brightness and contrast.
    still, moving = (
        cv2.GaussianBlur(
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32), ksize=(0, 0), sigmaX=2
        )
        for frame in (blurred, sharp)
    )
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-7)
    exact = sharp.astype(np.float32)
    try:
        _, warp = cv2.findTransformECC(
            still, moving, np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION, criteria
        )
    except cv2.error:  # its one way to say that it does not converge
        return exact, False
    if not np.abs(warp[:, 2]).max() <= _FARTHEST:  # also where it is not a number
        return exact, False
    shifted = cv2.warpAffine(
        exact,
        warp,
        (sharp.shape[1], sharp.shape[0]),
        # Bilinear interpolation would blur the reference.
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(shifted.clip(0, 255), np.float32), True
