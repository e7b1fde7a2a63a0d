"""What all pages of the program have in common: two pictures under a divider, and zoom."""

from importlib.resources import files


def text(name: str) -> str:
    """`viewer.js` or `viewer.css`."""
    return files(__package__).joinpath(name).read_text("utf-8")
