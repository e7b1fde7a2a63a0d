"""How far pieces are, kept where all nodes and the driver can ask and tell.

It runs in a process of its own in the cluster, so this loads nothing else.
"""


class Told:
    """An actor that is told how many frames of each attempt at a piece are done."""

    def __init__(self) -> None:
        self._frames: dict[str, int] = {}

    def put(self, attempt: str, frames: int) -> None:
        """Note how far an attempt is."""
        self._frames[attempt] = frames

    def get(self) -> dict[str, int]:
        """All that was told."""
        return self._frames
