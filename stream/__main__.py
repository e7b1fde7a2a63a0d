"""`python -m stream` is the command `deblur`."""

from stream.cli import main

if __name__ == "__main__":
    main()
