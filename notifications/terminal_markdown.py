"""Markdown for a terminal: a text that grows, cut into its blocks, and each block drawn once it is whole."""

from __future__ import annotations

import re
from io import StringIO
from typing import Final

from rich.console import Console
from rich.markdown import Markdown

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_CODE_THEME: Final = "ansi_dark"


class Blocks:
    """What has been said so far, less the blocks that were taken out."""

    def __init__(self) -> None:
        self._text = ""

    def feed(self, delta: str) -> list[str]:
        """The blocks that end in this piece: at an empty line that is not in fenced code."""
        self._text += delta
        done: list[str] = []
        while (end := _end_of_block(self._text)) is not None:
            block, self._text = self._text[:end], self._text[end:].lstrip("\n")
            if block.strip():
                done.append(block)
        return done

    def rest(self) -> str:
        """The last block, which nothing will follow."""
        text, self._text = self._text, ""
        return text.strip("\n")


def _end_of_block(text: str) -> int | None:
    fence = ""
    position = 0
    while (end := text.find("\n", position)) >= 0:
        line = text[position:end]
        if fence:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
        elif opening := _FENCE.match(line):
            fence = opening[1]
        elif not line.strip() and position:
            return position
        position = end + 1
    return None


def draw(block: str, columns: int) -> str:
    """A block as lines for a terminal of that width. Addresses of links are shown: nothing hides where one leads."""
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=columns, highlight=False, legacy_windows=False)
    console.print(Markdown(block, hyperlinks=False, code_theme=_CODE_THEME))
    return out.getvalue().rstrip("\n")
