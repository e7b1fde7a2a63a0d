"""What runs on the nodes of a cluster: one piece, from its packets to its segments."""

import hashlib
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mssnet
from stream.cluster.folders import own_folder
from stream.cluster.part import Done, KnownPiece, Part
from stream.cluster.plan import Piece
from stream.compute.models import load_for
from stream.files.report import Progress
from stream.input.packet_index import PacketIndex
from stream.options.settings import Settings
from stream.paths import identity

_TOLD_S = 1.0
"""How often a node tells how far it is."""
TOKEN = "token"
"""A file beside the pieces by which a node knows that it sees their folder."""

_loaded: dict[tuple[object, ...], mssnet.Deblurrer] = {}
"""The network of the last piece, by what makes it what it is."""


class UnseenError(Exception):
    """A node does not see the input, and nothing of it was sent along."""


@dataclass(frozen=True)
class Order:
    """One piece to restore."""

    input: Path
    known: list[Any]
    """The input's size, and a hash of its ends."""
    output: Path
    settings: Settings
    piece: Piece
    index: Any
    """A reference to that of the input's packets."""
    shutter: float | None
    """The share of the frame interval for which the shutter is open; None: nothing asks for it."""
    parts: Path
    """The folder of the pieces, as the driver sees it."""
    token: str
    weights: Any = None
    """A reference to the weights, where these are a file of the driver's."""
    sent: Sequence[tuple[int, Any]] | None = None
    """References to what the piece needs of the input, each with its place in it."""


@dataclass(frozen=True)
class Result:
    """A piece that is done."""

    node: str
    host: str
    seconds: float
    frames: int
    files: list[tuple[str, Any]] | None
    """References to what lies in its folder; None where the node has put that in its place
    itself."""


@dataclass(frozen=True)
class Place:
    """Where a piece is restored, and what connects that with the driver."""

    node: str
    put: Callable[[bytes], Any]
    """Makes a reference."""
    get: Callable[[Any], bytes]
    """What a reference stands for."""
    tell: Callable[[int], None]
    """Is called with how many frames are done, at first with 0."""


def restore(order: Order, attempt: str, place: Place) -> Result:
    """Restore a piece in a folder of its own, which is gone afterwards, whatever happens.

    Raises `UnseenError` and any `DeblurError`.
    """
    begun, last = time.monotonic(), 0.0

    def seen(now: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _TOLD_S:
            last = time.monotonic()
            place.tell(now.frames)

    place.tell(0)
    with own_folder() as folder:
        input, settings = _input(order, folder, place.get), order.settings
        digest = ""
        if order.weights is not None:
            data, weights = place.get(order.weights), folder / Path(settings.model).name
            weights.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            settings = replace(settings, model=str(weights))
        piece, index = order.piece, PacketIndex.from_bytes(place.get(order.index))
        work, output = folder / piece.name, folder / order.output.name
        part = Part(
            *(input, output, settings, piece.number, piece.of),
            given=KnownPiece(piece, index, order.shutter),
            folder=work,
        )
        network = _network(settings, order.settings.model, digest)
        tile = network.tile
        try:
            frames = part.run(seen, restore=network).frames
        except BaseException:
            _loaded.clear()
            raise
        network.tile = tile
        (work / "lock").unlink(missing_ok=True)
        files = None
        if not _placed(order, work, attempt):
            files = [(each.name, place.put(each.read_bytes())) for each in sorted(work.iterdir())]
        seconds = round(time.monotonic() - begun, 3)
        return Result(place.node, platform.node(), seconds, frames, files)


def _network(settings: Settings, *known_by: str) -> mssnet.Deblurrer:
    """A process restores one piece after the other, and loads and compiles once."""
    key = (*known_by, settings.device, settings.precision, settings.engine, settings.tile)
    if key not in _loaded:
        _loaded.clear()
        _loaded[key] = load_for(settings)
    return _loaded[key]


def _input(order: Order, folder: Path, get: Callable[[Any], bytes]) -> Path:
    """The input where it is seen, else what was sent of it: the rest of that file is empty, and
    what is read by mistake is found by the checksums of the index."""
    try:
        if identity(order.input) == order.known:
            return order.input
    except OSError:
        pass
    if order.sent is None:
        raise UnseenError(str(order.input))
    sparse = folder / order.input.name
    with sparse.open("wb") as file:
        file.truncate(order.known[0])
        for place, reference in order.sent:
            file.seek(place)
            file.write(get(reference))
    return sparse


def _placed(order: Order, work: Path, attempt: str) -> bool:
    """Whether a piece could be put where the driver looks for it."""
    try:
        if (order.parts / TOKEN).read_text() != order.token:
            return False
        # Under its name it is whole; another attempt may have been faster.
        copied, place = order.parts / f"{work.name}.{attempt}", order.parts / work.name
        shutil.copytree(work, copied)
        try:
            copied.rename(place)
        except OSError:
            shutil.rmtree(copied, ignore_errors=True)
            return Done.read(place) is not None
    except OSError:
        return False
    return True
