"""How FFmpeg opens a file that is named, and no other."""

import av

_OPENING = {
    *("hls", "applehttp", "dash", "webm_dash_manifest", "concat", "imf", "sdp", "rtsp", "rtp"),
    *("sap", "vobsub", "mlv", "lavfi", "dvdvideo", "avisynth", "vapoursynth"),
}
"""Formats that make FFmpeg open other files and addresses than the one that is named."""

NAMED_ALONE = {
    "protocol_whitelist": "file",
    "format_whitelist": ",".join(sorted(av.formats_available - _OPENING)),
    "pattern_type": "none",  # else pat%d.jpg is all pictures of such a name but itself
}
"""Options for `av.open`, with an address behind `file:`."""
