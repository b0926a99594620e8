"""The pictures in the docs: there, small, and shrunk without a change that anybody sees."""

import re
import struct
import zlib
from pathlib import Path

import pytest

from tests.screenshots.png import SIGNATURE, shrink

ROOT = Path(__file__).resolve().parent.parent
PICTURES = sorted((ROOT / "docs" / "screenshots").glob("*.png"))
BLACK, RED, WHITE = b"\0\0\0", b"\xff\0\0", b"\xff\xff\xff"


def test_every_picture_of_the_readme_is_there_and_small():
    shown = set(re.findall(r"\((docs/screenshots/\w+\.png)\)", (ROOT / "README.md").read_text()))

    assert shown == {str(picture.relative_to(ROOT)) for picture in PICTURES}
    assert 0 < len(shown) <= 8
    assert [picture.name for picture in PICTURES if picture.stat().st_size > 100_000] == []


def test_every_picture_of_the_console_is_in_its_docs_and_small():
    folder = ROOT / "docs"
    shown = set(re.findall(r"\((screenshots/console/\w+\.png)\)", (folder / "console.md").read_text()))
    pictures = sorted((folder / "screenshots" / "console").glob("*.png"))

    assert shown == {str(picture.relative_to(folder)) for picture in pictures} != set()
    assert [picture.name for picture in pictures if picture.stat().st_size > 100_000] == []


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    "rows",
    [
        b"\0" + BLACK + RED + b"\0" + WHITE + BLACK,
        b"\1" + BLACK + RED + b"\1" + WHITE + b"\1\1\1",
        b"\0" + BLACK + RED + b"\2" + WHITE + b"\1\0\0",
        b"\0" + BLACK + RED + b"\4" + WHITE + b"\1\1\1",
    ],
    ids=["none", "left", "above", "paeth"],
)
def test_a_shrunk_picture_is_the_same_picture(rows: bytes):
    header = struct.pack(">IIBBBBB", 2, 2, 8, 2, 0, 0, 0)
    png = SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

    small = shrink(png)

    at = small.index(b"PLTE")
    (length,) = struct.unpack(">I", small[at - 4 : at])
    palette = [small[at + 4 + start : at + 7 + start] for start in range(0, length, 3)]
    at = small.index(b"IDAT")
    (length,) = struct.unpack(">I", small[at - 4 : at])
    pixels = zlib.decompress(small[at + 4 : at + 4 + length])
    assert [palette[index] for index in pixels[1:3] + pixels[4:6]] == [BLACK, RED, WHITE, BLACK]
