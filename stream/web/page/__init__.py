"""What all pages of the program have in common: two pictures under a divider, and zoom."""

from importlib.resources import files

FILES = "viewer.css", "viewer.js", "icon.svg"


def text(name: str) -> str:
    """One of `FILES`."""
    return files(__package__).joinpath(name).read_text("utf-8")
