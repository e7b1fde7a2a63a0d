"""Operations on pictures as tensors: color now, more to come. No files, no threads, no clocks."""

from filters.color import Coding, add_change, codes_of, recode, to_rgb

__all__ = ["Coding", "add_change", "codes_of", "recode", "to_rgb"]
