"""One sentence about a table on its way to a question: what the forms of questions share."""

from __future__ import annotations

from collections.abc import Sequence

from agents.library.columns import Column, Kind
from agents.library.condition import Condition
from agents.library.questions import Group, Question, Wish, is_additive
from agents.library.reading import Index, Mention, Reading
from agents.library.vocabulary import (
    AGGREGATES,
    ASKING,
    COMMON,
    HIGH,
    LOW,
    MANY,
    MISSING,
    PERSONS,
    ROWS_CALLED,
    STOP,
    VOCABULARY,
    Aggregate,
)
from agents.library.words import stem

PLURAL = 5


class Sentence:
    """The words of a sentence, with what they mention; methods that take words mark them as used."""

    def __init__(self, text: str, index: Index) -> None:
        self.text = text
        self.table = index.table
        self.reading: Reading = index.read(text)
        self.limit: int | None = None
        self.wanted: tuple[Condition, ...] = ()
        self.groups: list[Group] = []

    def has(self, vocabulary: Sequence[str] | frozenset[str]) -> bool:
        return bool(self.reading.places(vocabulary))

    def compare(self) -> None:
        """Groups `North vs South` by the column of those values, and makes `active customers` a condition."""
        said = {word.stem for word in self.reading.words}
        several = [one for one in self.wanted if one.sign == "=" and len(one.values) > 1]
        if several and not self.groups and said & {"compare", "vs", "versus", "compared", "comparison", "difference"}:
            self.groups = [Group(column=several[0].column)]
        if several and not self.groups and said & ASKING and self.has(HIGH | LOW | {"more", "higher", "lower", "less"}):
            self.groups = [Group(column=several[0].column)]
        if self.reading.places(tuple(AGGREGATES)) or self.has(HIGH | LOW):
            self.take_truths()

    def form(self, wish: Wish, *, note: str = "", **parts: object) -> Question:
        notes = [*self.reading.notes, *([note] if note else [])]
        leftovers = [] if wish in (Wish.NOTHING, Wish.OVERVIEW) else self.reading.leftovers()
        strangers = self.reading.strangers() if leftovers else []
        leftovers = [word for word in leftovers if word not in strangers]
        if leftovers:
            said = ", ".join(f"“{word}”" for word in leftovers[:6])
            notes.append(f"I found no column, value or meaning for {said}, so the answer leaves that out of account.")
        known: dict[str, object] = {
            "conditions": self.wanted,
            "groups": tuple(self.groups),
            "strangers": tuple(strangers),
            **parts,
        }
        return Question(text=self.text, wish=wish, notes=tuple(notes), **known)  # type: ignore[arg-type]

    def columns(self) -> tuple[Column, ...]:
        return tuple(dict.fromkeys(one.column for one in self.reading.columns))

    def first(self, column: Column) -> Aggregate:
        """How values of one group or time become one: as the question says, else as the name suggests."""
        said = [aggregate for _, aggregate in self.aggregates() if aggregate is not Aggregate.DISTINCT]
        return said[0] if said else Aggregate.SUM if is_additive(column) else Aggregate.MEAN

    def aggregates(self) -> list[tuple[int, Aggregate]]:
        return [(place, AGGREGATES[self.reading.stem(place)]) for place in self.reading.places(tuple(AGGREGATES))]

    def limit_for(self, mentions: Sequence[Mention]) -> int:
        """How many to show: as said, one for a singular noun, a few for a plural that the name hasn't."""
        if self.limit:
            return self.limit
        for one in mentions:
            word = self.reading.words[one.end - 1].text.casefold()
            if word != stem(word) and word not in one.column.name.casefold() and word.endswith("s"):
                return PLURAL
        return 1

    def noun_place(self) -> int:
        place = max(self.reading.places(MANY), default=-1) + 1
        while self.reading.stem(place) in ("of", "the", "different", "distinct", "unique", "all"):
            place += 1
        return place

    def noun(self) -> Mention | None:
        """The column that is counted: how many customers."""
        return self.reading.at(self.noun_place())

    def skip_noun(self) -> str:
        """Takes what rows are called (how many orders) as a name for rows; says so if that may be wrong."""
        place = self.noun_place()
        if not self.has(MANY) or not 0 < place < len(self.reading.words):
            return ""
        self.reading.use(place)
        word = self.reading.words[place]
        known = STOP | VOCABULARY | ROWS_CALLED | set(PERSONS)
        return (
            "" if word.stem in known or place in self.reading.named else f"I counted each row as one of “{word.text}”."
        )

    def take_truths(self) -> None:
        """Makes `how many are active` a condition on the column of that name."""
        for one in [one for one in self.reading.columns if one.column.kind is Kind.BOOLEAN]:
            values = set(self.table.frame[one.column.key].drop_nulls().to_list())
            true = sorted(values & {"yes", "true", "y", "t"})
            negated = self.reading.stem(one.start - 1) in ("not", "non", "no", "isn", "aren")
            asked = self.reading.stem(one.start - 1) in ASKING or self.has(COMMON | MISSING | {"different", "distinct"})
            if true and not asked:
                sign = "!=" if negated else "="
                self.wanted = (*self.wanted, Condition(column=one.column, sign=sign, values=(true[0],)))
                self.reading.forget(one)
