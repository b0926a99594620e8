"""One run: who, what and how it ended; why it has not; its timeline, events and relatives; and what can be done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from agents.models import AgentExecution, OperatorAction
from agents.redaction import redact
from agents.runs import RunRequest
from netra.console.actions import KINDS, ActingAdmin
from netra.console.clients import spell_client
from netra.console.family import read_family
from netra.console.log import TYPES, read_page, read_timeline
from netra.console.permissions import shows_content
from netra.console.why import why
from netra.console.words import spell
from netra.console.workers import read_workers
from notifications import csp
from notifications.presence import sockets_of

RESULT_CHARACTERS = 20_000
KEY_DIGITS = 19
"""No key of the database has more."""


class RunPages(ActingAdmin):
    """The pages under a run's address."""

    def get_urls(self) -> list[URLPattern]:
        own: list[tuple[str, Callable[..., HttpResponse], str]] = [
            ("<int:pk>/live/", self.live_view, "live"),
            ("<int:pk>/events/<int:seq>/", self.frame_view, "frame"),
            ("<int:pk>/replay/", self.replay_view, "replay"),
        ]
        return [
            *(
                path(route, self.admin_site.admin_view(view), name=f"agents_agentexecution_{name}")
                for route, view, name in own
            ),
            *self.action_urls(),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page of a run, in place of Django's form."""
        run = self._run(request, object_id)
        content = shows_content(request)
        context = {
            **self.admin_site.each_context(request),
            **self._live_context(request, run),
            "opts": self.opts,
            "title": run.run_id,
            "subtitle": None,
            "media": self.media,
            "log": read_page(run, request.GET, content=content),
            "types": TYPES,
            "watched": {
                "run_id": run.run_id,
                "created_at": run.created_at,
                "last_seq": run.last_seq,
                "is_live": run.completed_at is None,
            },
        }
        return TemplateResponse(request, "netra/console/run.html", context)

    def live_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """What of the page changes while the run is live."""
        context = self._live_context(request, self._run(request, pk))
        return never_cache(TemplateResponse)(request, "netra/console/run_live.html", context)

    def frame_view(self, request: HttpRequest, pk: int, seq: int) -> HttpResponse:
        """One event's frame, whole, as the client saw it."""
        run = self._run(request, pk, says=True)
        event = get_object_or_404(run.events, seq=seq)
        return HttpResponse(event.frame, content_type="application/json; charset=utf-8")

    def replay_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The run once more, as its user saw it."""
        run = self._run(request, pk, says=True)
        context = {
            "run": run,
            "back": reverse("admin:agents_agentexecution_change", args=[run.pk]),
            "replayed": {"run_id": run.run_id, "agent_name": run.agent_name, "message": _message_of(run)},
        }
        response = TemplateResponse(request, "netra/console/replay.html", context)
        response.headers[csp.HEADER] = csp.policy(request, trusted_types=True)
        return response

    def _run(self, request: HttpRequest, key: int | str, *, says: bool = False) -> AgentExecution:
        """Raises PermissionDenied, and Http404. `says`: it is to be seen what the run says."""
        if request.method not in {"GET", "HEAD"} or not self.has_view_permission(request):
            raise PermissionDenied
        if says and not shows_content(request):
            raise PermissionDenied
        if not str(key).isdecimal() or len(str(key)) > KEY_DIGITS:
            raise Http404
        found: AgentExecution = get_object_or_404(
            self.get_queryset(request).select_related("user", "thread", "parent"), pk=key
        )
        return found

    def _live_context(self, request: HttpRequest, run: AgentExecution) -> dict[str, Any]:
        content = shows_content(request)
        now = timezone.now()
        return {
            "run": run,
            "shows_content": content,
            "why": why(run, read_workers(now), now),
            "facts": list(_facts(run)),
            "took": spell(((run.completed_at or now) - run.created_at).total_seconds()),
            "actions": [kind for kind in KINDS if kind.fits(run) and request.user.has_perm(kind.permission)],
            "request_message": _message_of(run) if content else None,
            "request_params": _params_of(run) if content else None,
            "result": _result_of(run) if content else None,
            "timeline": read_timeline(run, content=content),
            "steps": run.transitions.order_by("ordinal")[:200],
            "family": read_family(run),
            "sockets": [
                (view, spell_client(view.client), view.places.get(run.run_id)) for view in sockets_of(run.user_id, now)
            ],
            "noted": OperatorAction.objects.filter(run_id=run.run_id)[:20],
        }


def _facts(run: AgentExecution) -> Iterator[tuple[str, Any, str]]:
    """Name, value, and the address of what it names."""
    yield "User", run.user.get_username(), f"../../?q={quote(run.user.get_username())}"
    yield "Agent", run.agent_name, ""
    yield "Thread", run.thread.thread_id, f"../../?q={run.thread.thread_id}"
    if run.parent is not None:
        yield "Parent", run.parent.run_id, reverse("admin:agents_agentexecution_change", args=[run.parent.pk])
    yield "Phase", run.phase.replace("_", " "), ""
    yield "Events", f"{run.last_seq:,}", ""
    yield "Attempt", f"{run.attempt}{', restartable' if run.restartable else ''}", ""
    yield "Worker", run.owner or "none", ""
    if run.completed_at is None:
        yield "Lease until", run.lease_expires_at, ""
        yield "Deadline", run.deadline_at, ""
    if run.cancel_requested_at is not None:
        yield "Cancel asked for", run.cancel_requested_at, ""
    yield "Tier", f"{run.tier}, at most {run.timeout:g} s", ""
    yield "Made", run.created_at, ""
    yield "Started", run.started_at, ""
    yield "Last progress", run.last_progress_at, ""
    if run.completed_at is not None:
        yield "Ended", run.completed_at, ""
    yield "Correlation", run.correlation_id, f"../../?q={run.correlation_id}"


def _message_of(run: AgentExecution) -> str:
    return msgspec.json.decode(run.request, type=RunRequest).message


def _params_of(run: AgentExecution) -> str:
    params = msgspec.json.decode(run.request, type=RunRequest).params
    return json.dumps(redact(params), indent=2, ensure_ascii=False) if params else ""


def _result_of(run: AgentExecution) -> str:
    if not run.result:
        return ""
    output = msgspec.json.decode(run.result)["output"]
    if output is None:
        return ""
    text = output if isinstance(output, str) else json.dumps(output, indent=2, ensure_ascii=False)
    return text if len(text) <= RESULT_CHARACTERS else f"{text[:RESULT_CHARACTERS]}… ({len(text):,} characters)"
