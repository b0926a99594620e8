"""Makes a screenshot small: 256 colours, which a page of text and lines hardly needs."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from typing import Final

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
COLOURS: Final = 256


def shrink(png: bytes) -> bytes:
    """The same picture (8 bits, RGB, not interlaced: as Chromium makes it) with a palette."""
    chunks = _chunks(png)
    width, height, depth, kind, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, kind, interlaced) == (8, 2, 0)
    pixels = _unfilter(zlib.decompress(chunks[b"IDAT"]), 3 * width, height)
    colours = [pixels[at : at + 3] for at in range(0, len(pixels), 3)]
    counted = Counter(colours).most_common()
    palette = [colour for colour, _ in counted[:COLOURS]]
    index = {colour: palette.index(_nearest(colour, palette)) for colour, _ in counted}
    rows = bytearray()
    for row in range(height):
        rows.append(0)
        rows += bytes(index[colour] for colour in colours[row * width : (row + 1) * width])
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", b"".join(palette)), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(_chunk(name, data) for name, data in parts)


def _chunks(png: bytes) -> dict[bytes, bytes]:
    """By name; those of one name joined."""
    chunks: dict[bytes, bytes] = {}
    at = len(SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        name = png[at + 4 : at + 8]
        chunks[name] = chunks.get(name, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    return chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _unfilter(raw: bytes, stride: int, height: int) -> bytes:
    out = bytearray()
    above = bytes(stride)
    for row in range(height):
        start = row * (stride + 1)
        line = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter_line(raw[start], line, above)
        out += line
        above = bytes(line)
    return bytes(out)


def _unfilter_line(kind: int, line: bytearray, above: bytes) -> None:
    for at in range(len(line)):
        left = line[at - 3] if at >= 3 else 0
        corner = above[at - 3] if at >= 3 else 0
        if kind == 1:
            line[at] = (line[at] + left) & 255
        elif kind == 2:
            line[at] = (line[at] + above[at]) & 255
        elif kind == 3:
            line[at] = (line[at] + (left + above[at]) // 2) & 255
        elif kind == 4:
            line[at] = (line[at] + _paeth(left, above[at], corner)) & 255


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))


def _nearest(colour: bytes, palette: list[bytes]) -> bytes:
    return min(palette, key=lambda each: sum((a - b) ** 2 for a, b in zip(colour, each, strict=True)))
