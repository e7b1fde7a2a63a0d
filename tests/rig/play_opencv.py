"""Plays an address with OpenCV and prints a line with the time of each frame."""

import sys

import cv2


def main() -> None:
    capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
    if not capture.isOpened():
        sys.exit("OpenCV cannot open it")
    while capture.read()[0]:
        sys.stdout.write(f"frame {capture.get(cv2.CAP_PROP_POS_MSEC):.1f}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
