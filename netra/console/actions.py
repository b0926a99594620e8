"""What operators can do to runs, on a run's page and in the list: never without a reason, never unnoted."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from agents.interventions import Interventions, Operator, Outcome
from agents.models import AgentExecution
from agents.registry import get_agent_registry
from agents.runs import CommittedBatch, Run
from agents.tracker import AgentExecutionTracker
from netra.console.export import FORMATS, export
from netra.console.permissions import EXPORT, OPERATE, shows_content
from netra.console.readonly import ReadOnlyAdmin
from netra.services import build_agreement
from notifications.manager import publish_soon
from notifications.notifier import WebSocketNotifier

MOST_AT_ONCE: Final = 500
"""Runs that are changed by one click; more are for a second one."""
NAMED: Final = 10
"""Runs that are named one by one on a confirmation page, and in what is said afterwards."""

Do = Callable[[Interventions, str, Operator, str], Outcome]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """An action; `consequence` says what it means before it is confirmed, `do` is None for an export."""

    name: str
    title: str
    consequence: str
    permission: str = OPERATE
    do: Do | None = None
    for_live: bool = True
    for_ended: bool = False
    only_restartable: bool = False

    def fits(self, run: AgentExecution) -> bool:
        """Whether a run's page offers it. What becomes of it is decided later, in the database."""
        if self.only_restartable and not run.restartable:
            return False
        return self.for_ended if run.completed_at is not None else self.for_live


KINDS: Final = (
    Kind(
        name="cancel",
        title="Cancel",
        consequence="The run is told to stop, as its user could have told it. It ends as cancelled and keeps what it"
        " has said so far. A run whose worker is gone ends when its lease is over.",
        do=lambda on, run_id, by, _: on.cancel(run_id, by),
    ),
    Kind(
        name="end",
        title="End as failed",
        consequence="The run ends now, whether or not its worker is there, and its user's chat shows it at once. A"
        " worker that still has it can write nothing more; what its tools have done stays done.",
        do=lambda on, run_id, by, _: on.end(run_id, by),
    ),
    Kind(
        name="hand_over",
        title="Hand over",
        consequence="The run is taken from its worker, and another attempt starts within seconds. Only for agents that"
        " are restartable.",
        do=lambda on, run_id, by, _: on.hand_over(run_id, by),
        only_restartable=True,
    ),
    Kind(
        name="retry",
        title="Retry",
        consequence="A new run with the same request starts in the same thread, where its user sees it.",
        do=lambda on, run_id, by, form_id: on.retry(run_id, by, form_id=form_id),
        for_live=False,
        for_ended=True,
    ),
    Kind(
        name="export",
        title="Export",
        consequence="The records leave Netra as a file.",
        permission=EXPORT,
        for_ended=True,
    ),
)
BY_NAME: Final = {kind.name: kind for kind in KINDS}


class ReasonForm(forms.Form):
    reason = forms.CharField(max_length=500, widget=forms.Textarea(attrs={"rows": 3, "autofocus": True}))
    form_id = forms.CharField(max_length=32, widget=forms.HiddenInput)


class ExportForm(ReasonForm):
    format = forms.ChoiceField(choices=FORMATS, widget=forms.RadioSelect, initial="jsonl")


class ConsoleBridge:
    """For a process that writes events outside the loop that serves its sockets."""

    def create_notifier(self, tracker: AgentExecutionTracker, run: Run, *, steps_before: int) -> WebSocketNotifier:
        return WebSocketNotifier(tracker, run, steps_before=steps_before)

    def publish(self, batches: Sequence[CommittedBatch]) -> None:
        publish_soon(batches)


class ActingAdmin(ReadOnlyAdmin):
    """The pages on which an action is confirmed, for one run or for many."""

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return {
            kind.name: (self._bulk(kind), kind.name, kind.title)
            for kind in KINDS
            if request.user.has_perm(kind.permission)
        }

    def action_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        return [path("<int:pk>/act/<str:action>/", view, name="agents_agentexecution_act")]

    def act_view(self, request: HttpRequest, pk: int, action: str) -> HttpResponseBase:
        if (kind := BY_NAME.get(action)) is None:
            raise Http404
        if not (self.has_view_permission(request) and request.user.has_perm(kind.permission)):
            raise PermissionDenied
        run = get_object_or_404(AgentExecution, pk=pk)
        page = reverse("admin:agents_agentexecution_change", args=[pk])
        runs = self.get_queryset(request).filter(pk=pk)
        return self._confirm(request, kind, runs, {}, page, only=run) or redirect(page)

    def _bulk(self, kind: Kind) -> Callable[[Any, HttpRequest, QuerySet[Any]], HttpResponseBase | None]:
        def act(_: Any, request: HttpRequest, runs: QuerySet[Any]) -> HttpResponseBase | None:
            selected = request.POST.getlist("_selected_action")
            across = request.POST.get("select_across", "0")
            repeated = {"action": [kind.name], "select_across": [across], "index": ["0"], "_selected_action": selected}
            return self._confirm(request, kind, self.chosen(request, runs), repeated, request.get_full_path())

        return act

    def _confirm(
        self,
        request: HttpRequest,
        kind: Kind,
        runs: QuerySet[Any],
        repeated: dict[str, list[str]],
        page: str,
        *,
        only: AgentExecution | None = None,
    ) -> HttpResponseBase | None:
        """Asks for the reason, or acts when it is given; None: back to where it was asked for, with a message."""
        is_given = "form_id" in request.POST
        form_class = ReasonForm if kind.do is not None else ExportForm
        form = form_class(request.POST) if is_given else form_class(initial={"form_id": secrets.token_hex(8)})
        if not (is_given and form.is_valid()):
            return self._ask(request, kind, form, runs, repeated, page, only=only)
        user = request.user
        assert user.pk is not None
        operator = Operator(by_id=user.pk, by_name=user.get_username(), reason=form.cleaned_data["reason"])
        if kind.do is None:
            where = request.GET.urlencode() if request.POST.get("select_across") == "1" else None
            chosen = form.cleaned_data["format"]
            return export(runs, operator, chosen, content=shows_content(request), where=where)
        return self._act(request, kind.do, runs, operator, form.cleaned_data["form_id"])

    def _act(
        self, request: HttpRequest, do: Do, runs: QuerySet[Any], operator: Operator, form_id: str
    ) -> HttpResponse | None:
        run_ids = list(runs.order_by("pk").values_list("run_id", flat=True)[: MOST_AT_ONCE + 1])
        if len(run_ids) > MOST_AT_ONCE:
            sentence = f"These are more than {MOST_AT_ONCE} runs, the most at once. Nothing was done: select fewer."
            self.message_user(request, sentence, messages.ERROR)
            return None
        if not run_ids:
            self.message_user(request, "These runs are not there any more. Nothing was done.", messages.WARNING)
            return None
        registry = get_agent_registry()
        on = Interventions(registry=registry, agreement=build_agreement(registry), bridge=ConsoleBridge())
        self._tell(request, [(run_id, do(on, run_id, operator, form_id)) for run_id in run_ids])
        return None

    def _tell(self, request: HttpRequest, outcomes: Iterable[tuple[str, Outcome]]) -> None:
        counted: Counter[bool] = Counter()
        for run_id, outcome in outcomes:
            counted[outcome.applied] += 1
            if counted[outcome.applied] <= NAMED:
                level = messages.SUCCESS if outcome.applied else messages.WARNING
                nothing = "" if outcome.applied else " Nothing was changed."
                self.message_user(request, f"{outcome.words}{nothing} ({run_id})", level)
        for applied, level, words in (
            (True, messages.SUCCESS, "to which it was done"),
            (False, messages.WARNING, "in which nothing was changed"),
        ):
            if (more := counted[applied] - NAMED) > 0:
                self.message_user(request, f"And {more} more {words}: see the operator actions.", level)

    def _ask(
        self,
        request: HttpRequest,
        kind: Kind,
        form: ReasonForm,
        runs: QuerySet[Any],
        repeated: dict[str, list[str]],
        page: str,
        *,
        only: AgentExecution | None,
    ) -> HttpResponse:
        few = list(runs.order_by("-pk")[: NAMED + 1])
        chosen = repeated.get("_selected_action", [])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": kind.title,
            "kind": kind,
            "form": form,
            "runs": few[:NAMED],
            "more": self._more(len(few), chosen, is_all=repeated.get("select_across") == ["1"]),
            "run": only,
            "repeated": [(name, value) for name, values in repeated.items() for value in values],
            "back": page,
            "hides": kind.do is None and not shows_content(request),
            "media": self.media,
        }
        return TemplateResponse(request, "netra/console/confirm.html", context)

    def _more(self, shown: int, chosen: Sequence[str], *, is_all: bool) -> str:
        """How many runs are not named. Those of a whole list are not counted: there may be millions."""
        if shown <= NAMED:
            return ""
        return "and all others of the list" if is_all else f"and {len(chosen) - NAMED} more"
