"""What a person at a terminal is asked about an approval, line by line. Pure: lines come in, questions go out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from notifications.cursors import Frame

COMMENT_CHARACTERS: Final = 2_000


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`arguments` None: as they were asked about."""

    decision: Literal["approve", "reject"]
    arguments: dict[str, Any] | None = None
    comment: str = ""


class ApprovalPrompt:
    """Asks `question` until there is an `answer`; `data` is that of approval_requested."""

    def __init__(self, data: Frame) -> None:
        self.answer: Answer | None = None
        self._arguments: dict[str, Any] = data["arguments"] or {}
        self._edited: dict[str, Any] | None = None
        self._names: list[str] = []
        self._problem = ""
        self._read: Callable[[str], None] = self._decide

    @property
    def question(self) -> str:
        """Without a line's end: the answer stands behind it."""
        return f"{self._problem}{self._ask()}"

    def take(self, line: str) -> None:
        """The person's next line."""
        self._problem = ""
        self._read(line.strip())

    def again(self, problem: str) -> None:
        """The answer was not taken."""
        self.answer, self._read = None, self._decide
        self._problem = f"{problem}\n"

    def _ask(self) -> str:
        if self._read == self._explain:
            return "Why not? (Enter: no comment) "
        if self._read == self._change:
            name = self._names[0]
            return f"{name} = {_text_of(self._values[name], self._arguments[name])}\nNew value (Enter: as it is): "
        return f"Approve? yes, no{', or edit the arguments' if self._arguments else ''}: "

    @property
    def _values(self) -> dict[str, Any]:
        return self._arguments if self._edited is None else self._edited

    def _decide(self, line: str) -> None:
        word = line.lower()
        if word in {"y", "yes"}:
            self.answer = Answer(decision="approve", arguments=self._edited)
        elif word in {"n", "no"}:
            self._read = self._explain
        elif word in {"e", "edit"} and self._arguments:
            self._names, self._read = list(self._arguments), self._change
        elif word:
            self._problem = f"{line!r} is none of these. "

    def _explain(self, line: str) -> None:
        self.answer = Answer(decision="reject", comment=line[:COMMENT_CHARACTERS])

    def _change(self, line: str) -> None:
        name = self._names[0]
        if line:
            try:
                value = _value_of(line, self._arguments[name])
            except ValueError as error:
                self._problem = f"{error}\n"
                return
            self._edited = {**self._values, name: value}
        del self._names[0]
        if not self._names:
            self._read = self._decide


def _text_of(value: Any, asked: Any) -> str:
    return value if isinstance(value, str) and isinstance(asked, str) else json.dumps(value, ensure_ascii=False)


def _value_of(line: str, before: Any) -> Any:
    """A text stays one, all else is JSON. Raises ValueError."""
    if isinstance(before, str):
        return line
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"This is not JSON, such as {json.dumps(before, ensure_ascii=False)}: {error}") from error
