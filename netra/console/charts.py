"""Pictures of figures, drawn on the server as SVG: no script, and colours by classes, which know light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH: Final = 600
BAR: Final = 14
SPARK: Final = 48


class Part(msgspec.Struct, frozen=True):
    """A share of a bar; `kind` is its colour's class."""

    kind: str
    label: str
    count: int


def stacked_bar(parts: Sequence[Part], label: str) -> SafeString:
    """One bar whose parts are as long as their counts; each says what it is when one points at it."""
    total = sum(part.count for part in parts)
    rects, at = [], 0.0
    for part in parts:
        width = WIDTH * part.count / total if total else 0.0
        if width:
            rects.append((part.kind, _number(at), _number(max(1.0, width - 1)), BAR, f"{part.label}: {part.count:,}"))
        at += width
    drawn = format_html_join(
        "", '<rect class="netra-fill {}" x="{}" y="0" width="{}" height="{}"><title>{}</title></rect>', rects
    )
    told = f"{label}: {', '.join(f'{part.count:,} {part.label}' for part in parts if part.count) or 'none'}"
    return _svg("netra-bar", BAR, told, drawn)


def sparkline(values: Sequence[float], label: str) -> SafeString:
    """A line from the oldest to the latest value, over the area below it."""
    most = max([*values, 1e-9])
    step = WIDTH / max(1, len(values) - 1)
    points = [(index * step, 3 + (SPARK - 4) * (1 - value / most)) for index, value in enumerate(values)]
    line = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
    drawn = format_html(
        '<polygon class="netra-area" points="0,{0} {1} {2},{0}"/><polyline class="netra-line" points="{1}"/>',
        SPARK,
        line,
        WIDTH,
    )
    return _svg("netra-spark", SPARK, label, drawn)


def span_bar(low: float, high: float, most: float, label: str) -> SafeString:
    """Two values on one scale: the lower one full, the higher one pale behind it."""
    scale = WIDTH / most if most else 0.0
    drawn = format_html(
        '<rect class="netra-span-high" x="0" y="0" width="{}" height="{}"/>'
        '<rect class="netra-span-low" x="0" y="0" width="{}" height="{}"/>',
        *(_number(high * scale), BAR, _number(low * scale), BAR),
    )
    return _svg("netra-span", BAR, label, drawn)


def _svg(kind: str, height: int, label: str, drawn: SafeString) -> SafeString:
    return format_html(
        '<svg class="{}" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>',
        kind,
        WIDTH,
        height,
        label,
        drawn,
    )


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
