"""What the numbers of a table say: summaries, missing values, correlations, outliers and groups, with polars.

Results are plain values, ready for JSON; lists are bounded, and say what they left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import polars as pl

from agents.library.columns import Column, Kind, Table

Finding = dict[str, object]

FEWEST_PAIRS = 5
FEWEST_FOR_OUTLIERS = 8
MOST_CORRELATED = 40
MOST_SUMMARIES = 100
MOST_LEVELS = 20
_GROUPINGS = 3
_CANDIDATES = 6


def summaries(table: Table, limit: int) -> list[Finding]:
    """What each of the first `limit` columns holds."""
    return [_summary(table, column) for column in table.columns[:limit]]


def _summary(table: Table, column: Column) -> Finding:
    values = table.frame[column.key].drop_nulls()
    finding: Finding = {
        "column": column.name,
        "type": column.kind.value,
        "values": len(values),
        "missing": table.height - len(values),
        "distinct": table.distinct[column.key],
    }
    match column.kind:
        case Kind.NUMBER:
            finding |= number_summary(values)
        case Kind.DATE:
            finding |= {"first": _text(values.min()), "last": _text(values.max())}
        case Kind.TEXT | Kind.BOOLEAN:
            finding["top"] = most_common(values, 3)
        case Kind.EMPTY:
            pass
    return finding


def number_summary(values: pl.Series) -> Finding:
    """Minimum, quartiles (linear interpolation), mean, standard deviation (n - 1) and maximum."""
    return {
        "min": values.min(),
        "q1": values.quantile(0.25, "linear"),
        "median": values.median(),
        "q3": values.quantile(0.75, "linear"),
        "max": values.max(),
        "mean": values.mean(),
        "std": values.std(),
    }


def most_common(values: pl.Series, limit: int) -> list[Finding]:
    """The values that are there most often, with their counts; ties in the order of the values."""
    counts = values.alias("value").value_counts().sort(["count", "value"], descending=[True, False]).head(limit)
    return [{"value": str(value)[:80], "count": count} for value, count in counts.rows()]


def missing(table: Table, limit: int) -> Finding:
    """Which columns lack values, worst first, and how many rows are complete."""
    counts = {column.key: table.frame[column.key].null_count() for column in table.columns}
    lacking = sorted((column for column in table.columns if counts[column.key]), key=lambda one: -counts[one.key])
    complete = table.frame.select(pl.all_horizontal(pl.all().is_not_null()).sum()).item() if table.height else 0
    return {
        "rows": table.height,
        "complete_rows": complete,
        "missing_cells": sum(counts.values()),
        "columns": [{"column": column.name, "missing": counts[column.key]} for column in lacking[:limit]],
        "columns_with_missing": len(lacking),
    }


def correlation(table: Table, one: Column, other: Column) -> tuple[float, int] | None:
    """Pearson's r and the number of rows that have both values; None if too few, or one is constant."""
    if one.key == other.key:
        return None
    pairs = table.frame.select(pl.col(one.key, other.key).cast(pl.Float64)).drop_nulls()
    if pairs.height < FEWEST_PAIRS or any(pairs[key].n_unique() < 2 for key in (one.key, other.key)):
        return None
    r = pairs.select(pl.corr(one.key, other.key)).item()
    return None if r is None or not math.isfinite(r) else (max(-1.0, min(1.0, r)), pairs.height)


def correlations(table: Table, limit: int) -> Finding:
    """The strongest correlations that chance hardly explains (5 % level by Fisher's z), strongest first."""
    measures = [column for column in table.measures if table.distinct[column.key] > 1]
    compared, strong = 0, []
    for one, other in combinations(measures[:MOST_CORRELATED], 2):
        found = correlation(table, one, other)
        if found is None:
            continue
        compared += 1
        r, pairs = found
        if is_significant(r, pairs):
            strong.append({"a": one.name, "b": other.name, "r": round(r, 4), "n": pairs})
    strong.sort(key=lambda finding: -abs(float(str(finding["r"]))))
    return {
        "pairs_compared": compared,
        "columns_left_out": max(0, len(measures) - MOST_CORRELATED),
        "significant": len(strong),
        "strongest": strong[:limit],
    }


def is_significant(r: float, pairs: int) -> bool:
    """Whether r differs from 0 at the 5 % level; Fisher's z transformation."""
    return pairs > 3 and (abs(r) >= 1 or math.atanh(abs(r)) * math.sqrt(pairs - 3) > 1.96)


def outliers(table: Table, limit: int) -> list[Finding]:
    """Values beyond 1.5 interquartile ranges from the quartiles, for columns that have any; most first."""
    found = [one for column in table.measures if (one := _outliers(table, column, limit))]
    return sorted(found, key=lambda finding: -int(str(finding["count"])))[:MOST_LEVELS]


def _outliers(table: Table, column: Column, limit: int) -> Finding | None:
    values = table.frame[column.key].drop_nulls()
    low, high = values.quantile(0.25, "linear"), values.quantile(0.75, "linear")
    if len(values) < FEWEST_FOR_OUTLIERS or low is None or high is None or low == high:
        return None
    reach = 1.5 * (high - low)
    below, above = low - reach, high + reach
    outside = table.frame.filter((pl.col(column.key) < below) | (pl.col(column.key) > above))
    if outside.is_empty():
        return None
    distance = (pl.col(column.key) - (low + high) / 2).abs()
    worst = outside.sort(distance, "row", descending=[True, False]).head(limit)
    return {
        "column": column.name,
        "below": below,
        "above": above,
        "count": outside.height,
        "rows": [{"row": row, "value": value} for row, value in worst.select("row", column.key).rows()],
    }


def groups(table: Table, limit: int) -> list[Finding]:
    """Numbers by category, for the pairs of columns where the category explains most of the number."""
    categories = [column for column in table.columns if _groups_well(table, column)][:_CANDIDATES]
    rated = [
        (explained, category, measure)
        for category in categories
        for measure in table.measures[:_CANDIDATES]
        if (explained := explained_share(table, category, measure)) is not None
    ]
    rated.sort(key=lambda one: -one[0])
    return [grouped(table, category, measure, limit) | {"explained": e} for e, category, measure in rated[:_GROUPINGS]]


def _groups_well(table: Table, column: Column) -> bool:
    levels = table.distinct[column.key]
    return column.is_category and 2 <= levels <= MOST_LEVELS and levels * 2 <= table.height


def explained_share(table: Table, category: Column, measure: Column) -> float | None:
    """Which share of the measure's variance the category explains, adjusted for the number of groups (ε²)."""
    values = pl.col(measure.key).cast(pl.Float64)
    pairs = table.frame.select(pl.col(category.key).alias("level"), values.alias("value")).drop_nulls()
    groups_, rows = pairs["level"].n_unique(), pairs.height
    total = pairs.select(((pl.col("value") - pl.col("value").mean()) ** 2).sum()).item()
    if groups_ < 2 or rows <= groups_ or not total or not math.isfinite(total):
        return None
    within = pairs.select(((pl.col("value") - pl.col("value").mean().over("level")) ** 2).sum()).item()
    return float(max(0.0, 1 - (within / total) * (rows - 1) / (rows - groups_)))


def grouped(table: Table, category: Column, measure: Column, limit: int) -> Finding:
    """Count, mean and sum of the measure for each level of the category, highest mean first."""
    values = pl.col(measure.key)
    levels = (
        table.frame.select(pl.col(category.key).alias("level"), values)
        .drop_nulls()
        .group_by("level")
        .agg(values.len().alias("count"), values.mean().alias("mean"), values.sum().alias("sum"))
        .sort(["mean", "level"], descending=[True, False])
    )
    return {
        "by": category.name,
        "measure": measure.name,
        "groups": [
            {"group": str(level)[:80], "count": count, "mean": mean, "sum": total}
            for level, count, mean, total in levels.head(limit).rows()
        ],
        "groups_left_out": max(0, levels.height - limit),
    }


def names_of(columns: Sequence[Column], limit: int) -> list[str]:
    return [column.name[:80] for column in columns[:limit]]


def _text(moment: object) -> str | None:
    return None if moment is None else str(moment).removesuffix(" 00:00:00")
