"""From the words of a question to what it asks of a table; nothing is guessed in silence."""

from __future__ import annotations

import re
from collections.abc import Callable

from agents.library.columns import Table
from agents.library.computing import aggregate, correlation, rest, trend
from agents.library.condition import Unclear
from agents.library.conditions import conditions
from agents.library.counting import common, count, missing, share
from agents.library.nouns import (
    groups_wanted,
    limit_wanted,
)
from agents.library.ordering import ranking
from agents.library.questions import Question, Wish
from agents.library.reading import Index
from agents.library.sentences import Sentence
from agents.library.vocabulary import (
    BEYOND,
    HIGH,
    LOW,
)
from agents.library.words import stems

MOST_QUESTIONS = 5
_SENTENCE = re.compile(r"(?<=[?!;])\s*|(?<=[^\W\d]\.)\s+|\n+")


def understand(text: str, table: Table) -> list[Question]:
    """The questions in a text; one not understood is there only if it ends with ? or stands alone."""
    index = Index(table)
    sentences = [part.strip() for part in _SENTENCE.split(text) if part and stems(part)]
    found = [_question(Sentence(sentence, index)) for sentence in sentences[: 4 * MOST_QUESTIONS]]
    asked = [
        one
        for one in found
        if one.wish not in (Wish.NOTHING, Wish.OVERVIEW) or (one.wish is Wish.NOTHING and one.text.endswith("?"))
    ]
    overviews = [one for one in found if one.wish is Wish.OVERVIEW]
    return (asked or overviews or found[:1])[:MOST_QUESTIONS]


def _question(sentence: Sentence) -> Question:
    """What this sentence asks; NOTHING with a note that says why, if that can't be told."""
    if sentence.has(BEYOND):
        return sentence.form(Wish.NOTHING, note="I only compute what the rows themselves say.")
    sentence.limit = limit_wanted(sentence.reading)
    try:
        sentence.wanted = conditions(sentence.reading)
    except Unclear as unclear:
        return sentence.form(Wish.NOTHING, note=str(unclear))
    sentence.groups = groups_wanted(
        sentence.reading, ranks=bool(sentence.limit) or sentence.has(HIGH | LOW | {"rank", "ranked"})
    )
    sentence.compare()
    for form in _FORMS:
        if asked := form(sentence):
            return asked
    return sentence.form(Wish.NOTHING)


_FORMS: tuple[Callable[[Sentence], Question | None], ...] = (
    missing,
    correlation,
    trend,
    share,
    common,
    count,
    ranking,
    aggregate,
    rest,
)
