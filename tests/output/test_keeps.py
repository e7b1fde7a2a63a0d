"""The docs' table of what is kept in which container is what the trial finds."""

import pytest

from stream.verify import Row
from tests.trials import keeps
from tests.trials.keeps import Thing, cell, picture, summed

THING = Thing("rotation", "rotation|audio", picture())


def test_the_table_in_the_readme_is_true() -> None:
    _, _, rest = keeps.PAGE.read_text().partition(keeps.BEGIN)
    told, end, _ = rest.partition(keeps.END)
    assert end, "the table is missing"
    found = keeps.table()
    assert told.splitlines() == found.splitlines(), "python -m tests.trials.keeps --write"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Row("rotation", "90", "90"), "yes"),
        (Row("rotation", "90", "0").changed(), "no"),
        (Row("rotation", "90", "-").lost(), "no"),
        (Row("rotation", "90", "90.1").allowed("rounded"), "yes"),
        (Row("audio 1", "ac3, stereo", "opus, stereo").allowed("WebM cannot hold ac3"), "as Opus"),
        (Row("audio 1", "mp3", "mp2").allowed("the same under the name that MP4 has"), "yes"),
        (Row("rotation", "90", "a tag of the video").allowed("as MOV has it"), "as a tag"),
        (Row("rotation", "", "").allowed("rounded by up to 0.4 ms: it counts in 1 ms"), "to 1 ms"),
    ],
)
def test_a_cell_says_what_a_row_says(row: Row, said: str) -> None:
    rows = [Row("size", "64x64", "64x64"), row, Row("rotation", "same", "same")]
    assert cell(THING, ".mp4", rows) == said


def test_what_goes_wrong_beside_a_thing_is_no_yes() -> None:
    rows = [Row("rotation", "90", "90"), Row("size", "64x64", "64x63").changed()]
    with pytest.raises(AssertionError, match="was 64x64, is 64x63"):
        cell(THING, ".mp4", rows)
    with pytest.raises(AssertionError, match="nothing is said"):
        cell(THING, ".mp4", rows[1:])


def test_several_files_are_told_in_one_cell() -> None:
    assert summed({"a": "no", "b": "no"}, THING) == "no"
    assert summed({"a": "yes", "b": "yes"}, THING) == "yes"
    assert summed({"a": "yes", "b": "no", "c": "as Opus"}, THING) == "a, c as Opus"
