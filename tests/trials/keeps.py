"""`python -m tests.trials.keeps`: what is kept in which container, as a table for the docs.

    python -m tests.trials.keeps            # prints the table
    python -m tests.trials.keeps --write    # puts it into docs/containers.md

For each thing a small file that has it goes through a job that restores nothing, into each kind of
container. The table says what the conformance reports found.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from av.stream import Disposition

import mssnet
import stream
from stream.compute.models import load_model
from stream.verify import Row
from tests import tracks
from tests.clips import make_clip
from tests.harm import Corruption, copied
from tests.pictures import write
from tests.tracks import Piece
from tests.trials.runner import console

ENDINGS = (".mp4", ".mov", ".mkv", ".webm", ".ts")
PAGE = Path(__file__).parents[2] / "docs" / "containers.md"
BEGIN, END = "<!-- keeps -->\n", "<!-- /keeps -->\n"

Make = Callable[[Path], Path]
"""Writes a file into a folder."""
MakePiece = Callable[[Path], Piece]


@dataclass(frozen=True)
class Thing:
    """Something that a file can have."""

    name: str
    watched: str
    """Which rows of a report tell of it: a regular expression that begins their names."""
    files: Make | Mapping[str, Make]
    """What writes a file that has it, or one of several such files by name."""
    yes: str = "yes"
    """What the table says where nothing changed."""


def picture(ending: str = ".mp4", **options: Any) -> Make:
    """A clip with a peculiar picture."""
    frames = len(options["pts"]) if "pts" in options else 5
    given = {"size": (64, 64), "frames": frames, **options}
    return lambda folder: make_clip(folder / f"in{ending}", **given)


def beside(*others: MakePiece, ending: str = ".mkv", **more: Any) -> Make:
    """A clip with other streams beside its picture."""

    def make(folder: Path) -> Path:
        shown = make_clip(folder / f"picture{ending}", size=(64, 64), frames=26)
        pieces = [Piece(shown), *(other(folder) for other in others)]
        return tracks.together(folder / f"in{ending}", *pieces, **more)

    return make


def sound(
    codec: str = "aac",
    language: str = "eng",
    title: str = "",
    roles: Disposition | None = None,
    **options: Any,
) -> MakePiece:
    said = {"language": language, **({"title": title} if title else {})}
    return lambda folder: Piece(
        tracks.sound(folder / f"{codec}{language}{title}.mkv", codec, **options), said, roles
    )


def words(ending: str) -> MakePiece:
    return lambda folder: Piece(tracks.words(folder / f"words{ending}"), {"language": "fra"})


def bitmaps(codec: str, ending: str = ".mkv") -> MakePiece:
    return lambda folder: Piece(tracks.bitmaps(folder / f"{codec}{ending}", codec))


def cover(folder: Path) -> Piece:
    file = make_clip(folder / "cover.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=1)
    return Piece(file, roles=Disposition.attached_pic)


def second(folder: Path) -> Piece:
    return Piece(make_clip(folder / "second.mkv", size=(32, 32), frames=26))


def sensors(folder: Path) -> Piece:
    return Piece(tracks.data(folder / "data.mp4"))


def late(folder: Path) -> Path:
    """A clip whose picture begins a second after its sound."""
    shown = make_clip(folder / "picture.mp4", size=(64, 64), frames=10, pts=range(25, 35))
    heard = tracks.sound(folder / "sound.mp4", "aac", seconds=1.5)
    return tracks.together(folder / "in.mp4", Piece(shown), Piece(heard))


def transparent(folder: Path) -> Path:
    """A clip that is half transparent."""
    planes = [np.full(shape, 127, np.uint8) for shape in [(64, 64), (32, 32), (32, 32), (64, 64)]]
    return write(folder / "in.webm", "yuva420p", [planes] * 5, codec="libvpx-vp9")


def marked(ending: str, harm: Corruption) -> Make:
    """A clip of which something is said."""

    def make(folder: Path) -> Path:
        source = make_clip(folder / f"plain{ending}", size=(64, 64), frames=5)
        return copied(source, folder / f"in{ending}", harm)

    return make


PHONE = Fraction(1, 12800)
"""The clock of many MP4 files, which is finer than Matroska's and does not divide MPEG-TS's."""
UNEVEN = (0, 301, 813, 1427, 1938, 2651, 3165, 3675)
MIRROR = (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)
TIMECODE = {0: {"timecode": "01:02:03:04"}}

QUIET = "log-level=error"
LIGHT = "=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):"
HEVC: dict[str, Any] = {"codec": "libx265", "options": {"x265-params": QUIET}}
TEN: dict[str, Any] = {**HEVC, "pix_fmt": "yuv420p10le"}
HDR_HEVC = {"x265-params": f"{QUIET}:master-display{LIGHT}max-cll=1000,400"}
HDR_AV1 = {
    "svtav1-params": "mastering-display=G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)"
    "WP(0.3127,0.329)L(1000,0.0001):content-light=1000,400"
}

THINGS = (
    Thing("every frame", "frames", picture(time_base=PHONE, pts=UNEVEN)),
    Thing(
        "times of a variable frame rate",
        "timestamps",
        picture(time_base=PHONE, pts=UNEVEN),
        "exact",
    ),
    Thing("a picture that starts after its sound", "timestamps|audio 1 (to|times)", late),
    Thing("odd sizes", "size|chroma", picture(".mkv", codec="ffv1", size=(33, 17))),
    Thing("pixel aspect", "pixel aspect", picture(aspect=Fraction(16, 11))),
    Thing(
        "rotation, mirroring",
        "rotation",
        {"rotation": picture(rotation=90), "mirroring": marked(".mp4", Corruption(matrix=MIRROR))},
    ),
    Thing(
        "10 and 12 bits",
        "bit depth",
        {"10 bits": picture(**TEN), "12 bits": picture(**HEVC, pix_fmt="yuv420p12le")},
    ),
    Thing(
        "4:2:2, 4:4:4",
        "chroma",
        {"4:2:2": picture(pix_fmt="yuv422p"), "4:4:4": picture(pix_fmt="yuv444p")},
    ),
    Thing("gray", "chroma", picture(**HEVC, pix_fmt="gray")),
    Thing("transparency", "transparency", transparent),
    Thing(
        "BT.601, BT.709, BT.2020, HLG, full range",
        "color",
        {
            "BT.601": picture(tags=(6, 6, 6, 1)),
            "BT.709": picture(),
            "BT.2020": picture(tags=(9, 9, 14, 1), **TEN),
            "HLG": picture(tags=(9, 9, 18, 1), **TEN),
            "full range": picture(tags=(1, 1, 1, 2)),
        },
    ),
    Thing(
        "HDR10: mastering display, light level",
        "mastering|content light|color",
        {
            "HEVC": picture(**{**TEN, "tags": (9, 9, 16, 1), "options": HDR_HEVC}),
            "AV1": picture(
                codec="libsvtav1", pix_fmt="yuv420p10le", tags=(9, 9, 16, 1), options=HDR_AV1
            ),
        },
    ),
    Thing(
        "several sounds, in their order",
        "audio|order",
        beside(sound(), sound(language="fra"), sound(language="ita")),
    ),
    Thing(
        "languages",
        "audio 1 language",
        {
            "English": beside(sound()),
            "German": beside(sound(language="deu")),
            "Swedish": beside(sound(language="swe")),
        },
    ),
    Thing(
        "titles of streams", "audio . title", beside(sound(title="Original"), sound(title="Dub"))
    ),
    Thing(
        "roles of streams",
        "audio 1 is (?!default)",
        {
            "commentary": beside(sound(roles=Disposition.comment)),
            "for the blind": beside(sound(roles=Disposition.visual_impaired)),
            "original language": beside(sound(roles=Disposition.original)),
        },
    ),
    Thing("AAC", "audio", beside(sound("aac"))),
    Thing("MP3", "audio", beside(sound("libmp3lame"))),
    Thing("AC-3, E-AC-3", "audio", {"AC-3": beside(sound("ac3")), "E-AC-3": beside(sound("eac3"))}),
    Thing("Opus", "audio", beside(sound("libopus"))),
    Thing("Vorbis", "audio", beside(sound("vorbis"))),
    Thing("FLAC", "audio", beside(sound("flac", depth=24))),
    Thing(
        "PCM",
        "audio",
        {"16": beside(sound("pcm_s16le")), "24": beside(sound("pcm_s24le", depth=24))},
    ),
    Thing(
        "subtitles: SRT, ASS",
        "subtitle",
        {"SRT": beside(words(".srt")), "ASS": beside(words(".ass"))},
    ),
    Thing("subtitles: WebVTT", "subtitle", beside(words(".vtt"))),
    Thing("subtitles: mov_text", "subtitle", beside(words(".mp4"), ending=".mp4")),
    Thing("subtitles of DVDs", "subtitle", beside(bitmaps("dvdsub"))),
    Thing("subtitles of Blu-rays (PGS)", "subtitle", beside(bitmaps("pgssub"))),
    Thing("subtitles of TV (DVB)", "subtitle", beside(bitmaps("dvbsub", ".ts"), ending=".ts")),
    Thing("attachments, such as fonts", "attachment", beside(attached={"font.ttf": b"no font"})),
    Thing("cover art", "cover|video stream", beside(cover, ending=".mp4")),
    Thing("a second video", "video (stream )?1|order", beside(second)),
    Thing("data of action cameras' sensors", "data", beside(sensors, ending=".mp4")),
    Thing("timecode", "data|video tag timecode", marked(".mov", Corruption(said=TIMECODE))),
    Thing("chapters", "chapter", picture(chapters=True, frames=12)),
    Thing(
        "title, artist, date",
        "file tag",
        picture(metadata={"title": "T", "artist": "A", "date": "2026"}),
    ),
    Thing("other tags", "file tag", picture(".mkv", metadata={"CAMERA": "C"})),
)

NAMES = {
    "aac": "AAC",
    "alac": "ALAC",
    "ass": "ASS",
    "flac": "FLAC",
    "mov_text": "mov_text",
    "opus": "Opus",
    "webvtt": "WebVTT",
}
"""What codecs are called that streams are converted to."""


def table() -> str:
    """Try everything, and say in a Markdown table what was found."""
    restore = load_model("lite", device="cpu")
    lines = [["", *(f"`{ending}`" for ending in ENDINGS)], ["---"] * (1 + len(ENDINGS))]
    lines += [[thing.name, *tried(thing, restore)] for thing in THINGS]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def tried(thing: Thing, restore: mssnet.Deblurrer) -> list[str]:
    """What becomes of a thing in each container."""
    files = thing.files if isinstance(thing.files, Mapping) else {"": thing.files}
    found: list[dict[str, str]] = [{} for _ in ENDINGS]
    for name, make in files.items():
        with tempfile.TemporaryDirectory(prefix="keeps-") as made:
            source = make(Path(made))
            for said, ending in zip(found, ENDINGS, strict=True):
                settings = stream.Settings(strength=0, device="cpu")
                job = stream.Job(source, Path(made) / f"out{ending}", settings)
                report = job.run(restore=restore)
                assert report.conformance is not None
                said[name] = cell(thing, ending, report.conformance.rows)
    return [summed(said, thing) for said in found]


def cell(thing: Thing, ending: str, rows: Sequence[Row]) -> str:
    """What the rows of a report say of a thing, in a word or two."""
    told = [row for row in rows if re.match(thing.watched, row.what)]
    bad = [row for row in rows if row.verdict in ("lost", "changed")]
    astray = [row.said for row in bad if row not in told]
    assert told, f"of {thing.name} in {ending} nothing is said"
    assert not astray, f"beside {thing.name} in {ending}: {astray}"
    if bad:
        nameless = all(row.what.endswith(" title") for row in bad) and len(bad) < len(told)
        return "without its name" if nameless else "no"
    for row in told:
        if row.verdict == "same":
            continue
        if clock := re.search(r"counts in (.+)", row.why):
            return f"to {clock[1]}"
        codec = row.output.split(",")[0]
        if codec in NAMES and re.search("cannot hold|under the name", row.why):
            return f"as {NAMES[codec]}"
        if row.what in ("chroma", "bit depth"):
            return f"as {row.output}"
        if row.output.startswith("a tag"):
            return "as a tag"
    return thing.yes


def summed(found: Mapping[str, str], thing: Thing) -> str:
    """What is said of all files that have a thing, in one cell."""
    if len({*found.values()}) == 1:
        return next(iter(found.values()))
    kept = {name: said for name, said in found.items() if said != "no"}
    return ", ".join(name if said == thing.yes else f"{name} {said}" for name, said in kept.items())


def main(
    write: Annotated[
        bool, typer.Option("--write", help="Put the table into docs/containers.md.")
    ] = False,
) -> None:
    """Find out what is kept in which container."""
    made = table()
    if not write:
        console.print(made, end="")
        return
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{PAGE} has no place for it between {BEGIN.strip()} and {END.strip()}"
    PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}")


if __name__ == "__main__":
    typer.run(main)
