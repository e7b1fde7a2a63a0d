"""What frames carry beside the picture."""

from typing import Any, Final

import av
from av.sidedata.sidedata import Type

FIXED: Final = {
    Type.MASTERING_DISPLAY_METADATA: "mastering display",
    Type.CONTENT_LIGHT_LEVEL: "content light level",
    Type.AMBIENT_VIEWING_ENVIRONMENT: "ambient light",
    Type.SPHERICAL: "spherical projection",
    Type.STEREO3D: "stereo 3D",
    Type.ICC_PROFILE: "ICC profile",
}
"""What frames carry beside the picture that is the same for the whole video."""

MOVING: Final = {
    Type.DOVI_RPU_BUFFER: "Dolby Vision",
    Type.DOVI_METADATA: "Dolby Vision",
    Type.DYNAMIC_HDR_PLUS: "HDR10+",
    Type.DYNAMIC_HDR_VIVID: "HDR Vivid",
    Type.A53_CC: "closed captions in the video",
    Type.S12M_TIMECODE: "timecode in the video",
}
"""What frames carry that changes from frame to frame."""


def side_data(frame: av.VideoFrame) -> dict[Type, bytes]:
    """What a frame carries beside the picture, as far as PyAV knows its types."""
    try:
        side: Any = frame.side_data
    except ValueError:
        # PyAV refuses all of it for the sake of one type that it has no name for.
        return {}
    # Asked for by type: it calls itself a mapping, but iterating it gives values.
    found = {type: side.get(type) for type in (*FIXED, *MOVING, Type.DISPLAYMATRIX)}
    return {type: bytes(data) for type, data in found.items() if data is not None}
