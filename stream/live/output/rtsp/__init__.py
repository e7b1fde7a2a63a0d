"""What an RTSP output sends: the picture as it is encoded, and sound as it came."""
