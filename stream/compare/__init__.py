"""Videos of one scene beside each other: as a page, as a sheet of crops, or as a video."""

from stream.compare.comparison import Showing, compare, target
from stream.compare.result import Comparison
from stream.compare.sheet import parse_crop

__all__ = ["Comparison", "Showing", "compare", "parse_crop", "target"]
