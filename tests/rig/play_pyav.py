"""Plays an address with PyAV and prints a line with the time of each frame: `ADDRESS tcp|udp`."""

import sys

import av


def main() -> None:
    options = {"rtsp_transport": sys.argv[2]}
    with av.open(sys.argv[1], options=options, timeout=(20.0, 20.0)) as source:
        for frame in source.decode(video=0):
            sys.stdout.write(f"frame {frame.time}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
