"""Languages' codes: ISO 639-2 has two for some, by their own name and by their English one."""

_BOTH = {
    "alb": "sqi",
    "arm": "hye",
    "baq": "eus",
    "bur": "mya",
    "chi": "zho",
    "cze": "ces",
    "dut": "nld",
    "fre": "fra",
    "geo": "kat",
    "ger": "deu",
    "gre": "ell",
    "ice": "isl",
    "mac": "mkd",
    "mao": "mri",
    "may": "msa",
    "per": "fas",
    "rum": "ron",
    "slo": "slk",
    "tib": "bod",
    "wel": "cym",
}
"""The twenty bibliographic codes and the terminological ones for the same."""


def terminological(code: str) -> str:
    """The one code of a language that MP4 and MOV want; other texts as they are."""
    return _BOTH.get(code, code)
