"""Calls a webhook when too many runs lack agent_completed for too long, and again when that is over.

Every process that serves sockets has the task; a row of the database says which one does it for a minute, and remembers
what was told, so that the others, and the next one, neither tell it again nor forget to.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import os
import socket
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

import msgspec
import structlog
from django.conf import settings
from django.db.models import Q

from agents.database import OwnThread
from agents.ids import Prefix, new_id
from netra.console.overdue import Overdue, OverdueRun, read_overdue
from notifications.models import AlertState

CHECK_SECONDS: Final = 10.0
HELD: Final = timedelta(seconds=60)
"""Longer than all tries of one call together."""
PAUSES: Final = (1.0, 2.0, 4.0)
"""Between the tries of one call; after the last one, the next check tries again."""
CALL_SECONDS: Final = 5.0
SIGNATURE: Final = "Netra-Signature"

log = structlog.get_logger(__name__)


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """When to call which address: above `most` runs that lack agent_completed for `older_than` seconds."""

    url: str
    secret: str
    older_than: float
    most: int
    only_frozen: bool


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What the address is told, as JSON. `alert_id` is the same when it begins and when it is over."""

    type: Literal["runs_lacking_completion"] = "runs_lacking_completion"
    alert_id: str
    state: Literal["firing", "resolved"]
    at: datetime
    count: int
    limit: int
    older_than: float
    only_frozen: bool
    reasons: dict[str, int]
    runs: list[OverdueRun]


def rule_of_settings() -> Rule | None:
    """None: nobody is to be called."""
    if not settings.NETRA_ALERT_URL:
        return None
    return Rule(
        url=settings.NETRA_ALERT_URL,
        secret=settings.NETRA_ALERT_SECRET,
        older_than=settings.NETRA_ALERT_OLDER_THAN_SECONDS,
        most=settings.NETRA_ALERT_MAX_RUNS,
        only_frozen=settings.NETRA_ALERT_ONLY_FROZEN,
    )


class Alerts:
    """One per process; lives in its event loop, and asks and calls on a thread of its own."""

    def __init__(self, rule: Rule, *, every: float = CHECK_SECONDS, pauses: tuple[float, ...] = PAUSES) -> None:
        self._rule = rule
        self._every = every
        self._pauses = pauses
        self._holder = f"{socket.gethostname()[:200]}:{os.getpid()}:{new_id(Prefix.WORKER)[-8:]}"
        self._thread = OwnThread("alerts")
        self._duty: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._duty = asyncio.create_task(self._watch(), name="alerts")

    async def stop(self) -> None:
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.wait({self._duty})
        self._thread.close()

    async def _watch(self) -> None:
        while True:
            try:
                await self._check()
            except Exception as error:  # whatever it is: who watches must go on
                log.warning("runs not watched", error=repr(error))
            await asyncio.sleep(self._every)

    async def _check(self) -> None:
        alert = await self._thread.call(find_alert, self._rule, self._holder, datetime.now(UTC))
        if alert is not None and await self._tell(alert):
            await self._thread.call(note_told, alert)
            log.info("alert told", state=alert.state, count=alert.count, alert_id=alert.alert_id)

    async def _tell(self, alert: Alert) -> bool:
        body = msgspec.json.encode(alert)
        for pause in (*self._pauses, None):
            try:
                await self._thread.call(post, self._rule, body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                log.warning("alert not told", state=alert.state, error=str(error))
            else:
                return True
            if pause is not None:
                await asyncio.sleep(pause)
        return False


def find_alert(rule: Rule, holder: str, now: datetime) -> Alert | None:
    """What there is to be told, if `holder` is the one to tell it. One or two queries when there is nothing."""
    AlertState.objects.get_or_create(name="runs", defaults={"held_until": now})
    mine = AlertState.objects.filter(Q(holder=holder) | Q(held_until__lte=now), name="runs")
    if not mine.update(holder=holder, held_until=now + HELD):
        return None
    state = AlertState.objects.get(name="runs")
    found = read_overdue(now, older_than=rule.older_than, only_frozen=rule.only_frozen)
    is_firing = found.count > rule.most
    if is_firing == bool(state.alert_id):
        return None
    return _alert(rule, found, state.alert_id or new_id(Prefix.MESSAGE), now, is_firing=is_firing)


def note_told(alert: Alert) -> None:
    AlertState.objects.filter(name="runs").update(alert_id=alert.alert_id if alert.state == "firing" else "")


def _alert(rule: Rule, found: Overdue, alert_id: str, now: datetime, *, is_firing: bool) -> Alert:
    return Alert(
        alert_id=alert_id,
        state="firing" if is_firing else "resolved",
        at=now,
        count=found.count,
        limit=rule.most,
        older_than=rule.older_than,
        only_frozen=rule.only_frozen,
        reasons={reason.value: count for reason, count in found.reasons.items()},
        runs=list(found.runs),
    )


def sign(secret: str, body: bytes, at: int) -> str:
    """`t` is the time in seconds, `v1` the HMAC-SHA256 of "t.body". Who knows the secret can tell that it is ours."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class _NoRedirect(HTTPRedirectHandler):
    """What is signed for one address goes to no other."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def post(rule: Rule, body: bytes) -> None:
    """Raises OSError (also for an answer that is not a 2xx), HTTPException or ValueError when it was not taken."""
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Netra",
        SIGNATURE: sign(rule.secret, body, int(time.time())),
    }
    request = Request(rule.url, data=body, headers=headers, method="POST")  # noqa: S310 - environment.url checks it
    try:
        with build_opener(_NoRedirect).open(request, timeout=CALL_SECONDS):
            pass
    except HTTPError as error:
        error.close()
        raise
