"""Answers that follow a number through time."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from agents.library.answer import Answer, Asked, called
from agents.library.grouping import bucketed, group_table, grouped_frame, level_text, measured
from agents.library.markdown import figure
from agents.library.questions import Group
from agents.library.vocabulary import Aggregate

_FLAT = 0.3
_UNITS = {"1d": "day", "1w": "week", "1mo": "month", "1q": "quarter", "1y": "year"}
_LONGEST = 36


def trend(asked: Asked) -> Answer:
    """How the measure changes from the first time to the last, and its least-squares slope."""
    measure = asked.question.measures[0]
    group = bucketed(asked.question.groups[0], asked.frame)
    frame = grouped_frame(asked, [group], asked.question.measures)
    frame = frame.filter(pl.col("level0").is_not_null(), pl.col("value0").is_not_null())
    if group.bucket or group.column.is_year:
        frame = frame.sort("level0")
    what = called(measure.aggregate or Aggregate.MEAN, measure.column)
    if frame.height < 2:
        return Answer(headline=f"There are not enough points in time for a trend of {what}{asked.where}.")
    first, last = float(frame["value0"][0]), float(frame["value0"][-1])
    slope, r = _line(frame)
    names = [level_text(frame["level0"][place], group) for place in (0, -1)]
    change = f" ({(last - first) / abs(first) * 100:+,.1f} %)" if first else ""
    headline = (
        f"{what[0].upper()}{what[1:]}{asked.where} **{_direction(slope, r)}**: "
        f"from {measured(frame, 0, asked.question.measures)} "
        f"({names[0]}) to {measured(frame, frame.height - 1, asked.question.measures)} ({names[1]}){change}; "
        f"{_step(slope, group)} by least squares (r = {r:.2f}, n = {frame.height})."
    )
    answer = group_table(headline, frame.tail(_LONGEST), [group], asked.question.measures, limit=_LONGEST)
    left = frame.height - _LONGEST
    return (
        replace(answer, notes=(f"The table shows the last {_LONGEST} of {frame.height} points.",))
        if left > 0
        else answer
    )


def _line(frame: pl.DataFrame) -> tuple[float, float]:
    """Slope a step and correlation of the values with their order in time."""
    points = frame.select(
        pl.int_range(pl.len()).cast(pl.Float64).alias("x"), pl.col("value0").cast(pl.Float64).alias("y")
    )
    if points["y"].n_unique() == 1:
        return 0.0, 0.0
    slope, r = points.select((pl.cov("x", "y") / pl.col("x").var()).alias("slope"), pl.corr("x", "y").alias("r")).row(0)
    return slope, r


def _direction(slope: float, r: float) -> str:
    if abs(r) < _FLAT:
        return "shows no clear trend"
    return "rises" if slope > 0 else "falls"


def _step(slope: float, group: Group) -> str:
    unit = _UNITS.get(group.bucket, "year" if group.column.is_year else "step")
    return f"{'+' if slope >= 0 else ''}{figure(float(f'{slope:.6g}'))} a {unit} with rows"
