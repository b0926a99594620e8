"""Findings as Markdown, section by section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.library.answer import Answer
from agents.library.columns import Kind, Table
from agents.library.markdown import escape, rows_of, share, shown, table, with_unit

Finding = Mapping[str, object]


def answers(found: Sequence[tuple[str, Answer]]) -> str:
    """The answers to the questions, each under its own words when there are several."""
    several = len(found) > 1
    parts = [(f"**{escape(asked, 200)}**\n\n" if several else "") + _answer(one) for asked, one in found]
    return "## Answer\n\n" + "\n".join(parts)


def _answer(answer: Answer) -> str:
    text = f"{answer.headline}\n"
    if answer.rows:
        text += "\n" + table(answer.head, answer.rows, answer.right)
    return text + "".join(f"\n_Note: {note}_\n" for note in answer.notes)


def overview(typed: Table, source: str, summaries: Sequence[Finding]) -> str:
    """Shape, warnings, and what each column holds."""
    columns = len(typed.columns)
    text = (
        f"\n## The table\n\n{rows_of(typed.height)} and {columns:,} column{'' if columns == 1 else 's'}, "
        f"read as {escape(typed.layout)} from {escape(source)}. "
        "Rows are counted from 1, without the header.\n\n"
    )
    text += "".join(f"- ⚠ {escape(warning, 300)}\n" for warning in typed.warnings[:20])
    text += "\n" if typed.warnings else ""
    rows = [
        (
            escape(str(one["column"])),
            str(one["type"]),
            f"{one['values']:,}",
            f"{one['missing']:,}",
            f"{one['distinct']:,}",
            _holds(typed, one),
        )
        for one in summaries
    ]
    text += table(("column", "type", "values", "missing", "different", "what it holds"), rows, frozenset((2, 3, 4)))
    left = columns - len(rows)
    return text + (f"\n_{left:,} more columns are not shown._\n" if left > 0 else "")


def numbers(typed: Table, summaries: Sequence[Finding]) -> str:
    """Minimum, quartiles and the like of each column of numbers; nothing if there are none."""
    rows = []
    for one in summaries:
        column = typed.named(str(one["column"]))
        if one["type"] == Kind.NUMBER.value and not column.identifies and one["values"]:
            parts = ("min", "q1", "median", "q3", "max", "mean", "std")
            rows.append((escape(column.name), *(shown(one[part], column) or "–" for part in parts)))
    if not rows:
        return ""
    head = ("column", "min", "lower quartile", "median", "upper quartile", "max", "mean", "std. deviation")
    return "\n### Numbers\n\n" + table(head, rows, frozenset(range(1, 8)))


def _holds(typed: Table, summary: Finding) -> str:
    if not summary["values"]:
        return "nothing"
    column = typed.named(str(summary["column"]))
    match summary:
        case {"min": int() | float() as low, "max": int() | float() as high}:
            return escape(f"{with_unit(low, column)} to {with_unit(high, column)}")
        case {"first": str() as first, "last": str() as last}:
            return f"{first} to {last}"
        case {"top": [*tops]}:
            return ", ".join(f"{escape(str(top['value']), 30)} ({top['count']:,})" for top in _list(tops))
        case _:
            return ""


def missing(finding: Finding) -> str:
    """Which columns lack values."""
    lacking = _list(finding["columns"])
    if not lacking:
        return "\n## Missing values\n\nNo values are missing.\n"
    height = int(str(finding["rows"]))
    listed = ", ".join(
        f"{escape(str(one['column']))} {one['missing']:,} ({share(float(str(one['missing'])), height)})"
        for one in lacking[:20]
    )
    more = int(str(finding["columns_with_missing"])) - len(lacking[:20])
    return (
        f"\n## Missing values\n\n{finding['missing_cells']:,} in all; {finding['complete_rows']:,} of "
        f"{rows_of(height)} are complete. {listed}{f' and {more:,} more columns' if more > 0 else ''}.\n"
    )


def correlations(finding: Finding) -> str:
    """The strongest correlations."""
    strongest, compared = _list(finding["strongest"]), int(str(finding["pairs_compared"]))
    if not compared:
        return ""
    left = int(str(finding["columns_left_out"]))
    pairs = f"{compared:,} pair{'' if compared == 1 else 's'}"
    text = f"\n## Correlations\n\nPearson's r, {pairs} of columns compared"
    text += f" ({left:,} columns left out)" if left else ""
    if not strongest:
        return text + "; none is beyond chance.\n"
    text += f"; {finding['significant']:,} beyond chance at the 5 % level (which 1 in 20 reaches by chance).\n\n"
    rows = [
        (escape(str(one["a"])), escape(str(one["b"])), f"{float(str(one['r'])):.3f}", f"{one['n']:,}")
        for one in strongest
    ]
    return text + table(("column", "with", "r", "n"), rows, frozenset((2, 3)))


def outliers(typed: Table, findings: Sequence[Finding]) -> str:
    """The values far from the others, and where they are."""
    if not findings:
        return "\n## Outliers\n\nNone by the rule of 1.5 interquartile ranges.\n" if typed.measures else ""
    rows = []
    for one in findings:
        column, worst = typed.named(str(one["column"])), _list(one["rows"])
        where = ", ".join(f"row {row['row']} ({shown(row['value'], column)})" for row in worst)
        more = int(str(one["count"])) - len(worst)
        bounds = " to ".join(shown(one[key], column) for key in ("below", "above"))
        rows.append(
            (
                escape(column.name),
                f"{one['count']:,}",
                bounds,
                where + (f" and {more:,} more" if more else ""),
            )
        )
    head = ("column", "outliers", "expected range", "farthest out")
    return "\n## Outliers\n\nBeyond 1.5 interquartile ranges from the quartiles.\n\n" + table(
        head, rows, frozenset((1,))
    )


def groups(typed: Table, findings: Sequence[Finding]) -> str:
    """Numbers by category."""
    text = "\n## Groups\n" if findings else ""
    for one in findings:
        measure = typed.named(str(one["measure"]))
        explained = share(float(str(one["explained"])), 1)
        name = f"{escape(measure.name)} by {escape(str(one['by']))}"
        text += f"\n**{name}** (explains {explained} of the variance)\n\n"
        rows = [
            (
                escape(str(group["group"])),
                shown(group["mean"], measure),
                shown(group["sum"], measure),
                f"{group['count']:,}",
            )
            for group in _list(one["groups"])
        ]
        text += table((escape(str(one["by"])), "mean", "sum", "count"), rows, frozenset((1, 2, 3)))
    return text


def _list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []
