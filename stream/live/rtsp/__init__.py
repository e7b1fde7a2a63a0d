"""An RTSP server of our own: players come to us, and no other program has to run.

    Writer's thread: picture ──VideoEncoder──> RTP packets ─┐ one call for each picture
    event loop:      Server ──> Session of each reader ─────┘──> tcp or udp

RTSP is that of RFC 2326, RTP and RTCP are those of RFC 3550.
"""
