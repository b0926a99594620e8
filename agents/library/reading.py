"""Which columns and values of a table a sentence mentions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agents.library.columns import Column, Kind, Table
from agents.library.dates import MONTHS, month_number
from agents.library.vocabulary import MEANS, PERSONS, ROWS_CALLED, STOP, VOCABULARY
from agents.library.words import Word, akin, stems, words

_LONGEST = 6
_MOST_VALUES = 30_000
_MOST_ALIKE = 20
_GENDERED = frozenset(("gender", "sex"))
_GENDERS = (("f", "w", "female", "woman", "girl", "lady"), ("m", "male", "man", "boy", "gentleman"))
_BEFORE_A_NAME = frozenset("of between by per and column for with vs versus".split())
_AFTER_A_NAME = frozenset("and by for where with vs versus to per column in is = == > < >= <= or".split())


@dataclass(frozen=True, slots=True)
class Mention:
    """Words `start` to `end` (exclusive) that name a column, or one of its values."""

    start: int
    end: int
    column: Column
    value: str | None = None
    whole: bool = True


@dataclass
class Reading:
    """A sentence's words, what they mention, and which of them have been given a meaning."""

    table: Table
    words: Sequence[Word]
    columns: list[Mention] = field(default_factory=list)
    values: list[Mention] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def stem(self, place: int) -> str:
        return self.words[place].stem if 0 <= place < len(self.words) else ""

    def places(self, vocabulary: frozenset[str] | Sequence[str]) -> list[int]:
        """Where words of the vocabulary stand that name no column or value."""
        return [
            place
            for place, word in enumerate(self.words)
            if word.stem in vocabulary and place not in self.named | self.used
        ]

    @property
    def named(self) -> set[int]:
        return {place for one in (*self.columns, *self.values) for place in range(one.start, one.end)}

    def use(self, *places: int) -> None:
        self.used.update(places)

    def at(self, place: int) -> Mention | None:
        """The column that is named from this word on."""
        return next((one for one in self.columns if one.start == place), None)

    def before(self, place: int) -> Mention | None:
        """The column whose name ends just before this word."""
        return next((one for one in self.columns if one.end == place), None)

    def forget(self, mention: Mention) -> None:
        """Takes a mention of a column as part of something else, such as a condition."""
        self.columns.remove(mention)
        self.use(*range(mention.start, mention.end))

    def leftovers(self) -> list[str]:
        """The words that had no meaning here."""
        done = self.named | self.used
        return [
            word.text
            for place, word in enumerate(self.words)
            if place not in done
            and word.stem not in STOP
            and word.stem not in VOCABULARY
            and not (word.stem in MEANS and self.columns)
            and word.stem not in PERSONS
            and word.stem not in ROWS_CALLED
        ]

    def strangers(self) -> list[str]:
        """Words without a meaning here that read like the name of something in the table: `in Atlantis`."""
        left = set(self.leftovers())
        return [
            word.text
            for place, word in enumerate(self.words)
            if word.text in left and (word.text[0].isupper() or self.stem(place - 1) in ("in", "from", "at", "="))
        ]


class Index:
    """The names and values of a table, by their stems; built once for all sentences."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names: dict[str, Column] = {}
        self.parts: dict[str, list[Column]] = {}
        for column in reversed(table.columns):
            parts = stems(column.name)
            self.names["".join(parts) or column.name] = column
            for part in set(parts):
                self.parts.setdefault(part, []).insert(0, column)
        self.values = dict(self._values())

    def _values(self) -> Iterator[tuple[tuple[str, ...], list[tuple[Column, str]]]]:
        found: dict[tuple[str, ...], list[tuple[Column, str]]] = {}
        budget = _MOST_VALUES
        for column in self.table.of(Kind.TEXT, Kind.BOOLEAN):
            budget -= self.table.distinct[column.key]
            if budget < 0:
                break
            for value in self.table.frame[column.key].drop_nulls().unique(maintain_order=True).to_list():
                if len(value) <= 60 and (parts := stems(value)) and len(parts) <= _LONGEST:
                    for alike in {parts, *_also_called(column, value)}:
                        found.setdefault(alike, []).append((column, value))
        yield from found.items()

    def read(self, sentence: str) -> Reading:
        """The sentence with all that it mentions; of names and values the longer wins, then the name."""
        reading = Reading(self.table, words(sentence))
        place = 0
        while place < len(reading.words):
            name = self._name_at(reading.words, place)
            value = self._value_at(reading.words, place, reading.columns)
            if name and (value is None or name.end >= value.end):
                reading.columns.append(name)
                place = name.end
            elif value:
                reading.values.append(value)
                place = value.end
            else:
                place += 1
        self._add_partial(reading)
        self._add_parts_of_values(reading)
        return reading

    def _name_at(self, said: Sequence[Word], place: int) -> Mention | None:
        for end in range(min(len(said), place + _LONGEST), place, -1):
            column = self.names.get("".join(word.stem for word in said[place:end]))
            if column and (end - place > 1 or self._names_alone(said, place)):
                return Mention(place, end, column)
        return None

    def _names_alone(self, said: Sequence[Word], place: int) -> bool:
        """Whether a word that may mean something else (a, total, count) is a column's name here."""
        stem = said[place].stem
        before = said[place - 1].stem if place else ""
        after = said[place + 1].stem if place + 1 < len(said) else ""
        if len(stem) == 1 or stem in STOP - VOCABULARY:
            return (before in _BEFORE_A_NAME or before in VOCABULARY or before == "") and (
                after in _AFTER_A_NAME or not after
            )
        if stem in VOCABULARY:
            return before in VOCABULARY or before in _BEFORE_A_NAME or (before in ("", "the") and not after)
        return True

    def _value_at(self, said: Sequence[Word], place: int, columns: Sequence[Mention]) -> Mention | None:
        for end in range(min(len(said), place + _LONGEST), place, -1):
            found = self.values.get(tuple(word.stem for word in said[place:end]))
            if found and (end - place > 1 or _is_value_alone(said, place, found)):
                near = [one for one in found if any(mention.column is one[0] for mention in columns)]
                column, value = (near or found)[0]
                return Mention(place, end, column, value)
        return self._negated_at(said, place)

    def _negated_at(self, said: Sequence[Word], place: int) -> Mention | None:
        """The value that says no to a column of yes and no: inactive, unpaid."""
        for prefix in ("in", "un", "non"):
            column = (
                self.names.get(said[place].stem.removeprefix(prefix)) if said[place].stem.startswith(prefix) else None
            )
            if column and column.kind is Kind.BOOLEAN:
                known = set(self.table.frame[column.key].drop_nulls().to_list())
                no = known & {"no", "false", "n", "f"}
                return Mention(place, place + 1, column, min(no)) if no else None
        return None

    def _add_partial(self, reading: Reading) -> None:
        """Columns of which a sentence says only a part: price for unit_price."""
        free = [
            place
            for place, word in enumerate(reading.words)
            if place not in reading.named and word.stem not in STOP and word.stem not in VOCABULARY
        ]
        said = {reading.words[place].stem for place in free}
        for place in free:
            stem = reading.words[place].stem
            candidates = self.parts.get(stem) or [
                column for part, columns in self.parts.items() if akin(part, stem) for column in columns
            ]
            if candidates:
                self._choose(reading, place, candidates, said)
        reading.columns.sort(key=lambda one: one.start)

    def _add_parts_of_values(self, reading: Reading) -> None:
        """Values of which a sentence says one word with a capital: Carol for Carol Smith."""
        for place, word in enumerate(reading.words):
            if place in reading.named or not word.text[0].isupper() or word.stem in STOP or word.stem in VOCABULARY:
                continue
            found = self._value_words.get(word.stem, [])
            if found and len({column.key for column, _ in found}) == 1:
                reading.values += [Mention(place, place + 1, column, value, whole=False) for column, value in found]
                listed = ", ".join(f"“{value}”" for _, value in found[:5])
                reading.notes.append(f"I took “{word.text}” to mean {listed}.")

    @cached_property
    def _value_words(self) -> dict[str, list[tuple[Column, str]]]:
        """The values that have a word, for words of at most a few values."""
        found: dict[str, list[tuple[Column, str]]] = {}
        for parts, pairs in self.values.items():
            for part in set(parts):
                found.setdefault(part, []).extend(pairs)
        return {part: pairs for part, pairs in found.items() if len(pairs) <= _MOST_ALIKE}

    def _choose(self, reading: Reading, place: int, candidates: Sequence[Column], said: set[str]) -> None:
        fits = {column.key: len(said & set(stems(column.name))) for column in candidates}
        best = max(fits.values())
        chosen = [column for column in candidates if fits[column.key] == best]
        text = reading.words[place].text.casefold()
        spelled = [column for column in chosen if text in column.name.casefold()]
        chosen = sorted(spelled or chosen, key=lambda column: (column.identifies, len(stems(column.name))))
        last = reading.columns[-1] if reading.columns else None
        if last and not last.whole and last.end == place and last.column in chosen:
            reading.columns[-1] = Mention(last.start, place + 1, last.column, whole=False)
            return
        reading.columns.append(Mention(place, place + 1, chosen[0], whole=False))
        if len(chosen) > 1 and not chosen[1].identifies:
            others = " or ".join(f"“{column.name}”" for column in chosen[1:3])
            reading.notes.append(f"“{reading.words[place].text}” could also mean {others}; I took “{chosen[0].name}”.")


def _also_called(column: Column, value: str) -> list[tuple[str, ...]]:
    """Other words for a value: March for Mar, women for F in a column of genders."""
    if month := month_number(value):
        name = MONTHS[month - 1]
        return [(name,), (name[:3],)]
    folded = value.casefold()
    if not _GENDERED.isdisjoint(stems(column.name)):
        return [(word,) for words_ in _GENDERS if folded in words_ for word in words_ if len(word) > 1]
    return []


def _is_value_alone(said: Sequence[Word], place: int, found: Sequence[tuple[Column, str]]) -> bool:
    """Whether one word that could mean something else is meant as a value here."""
    word = said[place]
    before = said[place - 1].stem if place else ""
    if before in ("=", "==", "!=", "≠", "equal"):
        return True
    if len(word.text) > 1 and (word.text.isupper() or (place and word.text[0].isupper())):
        return word.stem not in STOP or any(word.text == value for _, value in found)
    if word.stem in STOP or word.stem in VOCABULARY:
        return before in ("is", "are") and word.stem in ("no", "yes") and not said[place + 1 :]
    if len(word.text) == 1:
        return place > 0 and any(word.text == value for _, value in found)
    return True
