"""What language models have answered a restartable run: kept until the run has ended, so that no attempt asks again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog
from django.db import transaction

from agents.database import AWAY, in_database, patiently
from agents.leases import require_held
from agents.models import ModelAnswer
from agents.runs import Run
from agents.showing import digest_of

MOST_CHARACTERS: Final = 1_000_000
"""A longer answer is not kept: the next attempt asks again."""

log = structlog.get_logger(__name__)


class ModelAnswers:
    """Those of one attempt at a run, with what earlier attempts have left in `earlier`, by key."""

    def __init__(self, run: Run, earlier: dict[str, str], *, keeps: bool) -> None:
        self._run = run
        self._earlier = earlier
        self._keeps = keeps
        self._asked: Counter[str] = Counter()

    def key_of(self, asked: Callable[[], Any]) -> str | None:
        """Names what is asked, any JSON; the same once more is another question. None: nothing is kept of this."""
        try:
            digest = digest_of(asked()) if self._keeps else None
        except ValueError:  # text that no JSON can carry
            digest = None
        if digest is None:
            return None
        self._asked[digest] += 1
        return f"{digest} {self._asked[digest]}"

    def earlier(self, key: str) -> str | None:
        """What an earlier attempt was answered."""
        return self._earlier.get(key)

    async def keep(self, key: str, text: str) -> None:
        """Returns when no attempt has to ask this again. Raises Fenced."""
        if len(text) <= MOST_CHARACTERS:
            await patiently(keep_answer, self._run, key, text)

    async def forget(self) -> None:
        """The run has ended. What cannot be deleted now goes when its events do."""
        if self._keeps:
            try:
                await in_database(forget_answers, self._run.pk)
            except AWAY as error:
                log.warning("model answers stay for now", run_id=self._run.run_id, error=repr(error))


def keep_answer(run: Run, key: str, text: str) -> None:
    with transaction.atomic():
        require_held(run)
        ModelAnswer.objects.update_or_create(execution_id=run.pk, key=key, defaults={"text": text})


def read_answers(pk: int) -> dict[str, str]:
    """By key."""
    return dict(ModelAnswer.objects.filter(execution_id=pk).values_list("key", "text"))


def forget_answers(pk: int) -> None:
    ModelAnswer.objects.filter(execution_id=pk).delete()
