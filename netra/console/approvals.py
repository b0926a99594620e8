"""Approvals as operators see and answer them."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from agents.approvals import Answer, resolve_approval
from agents.errors import ApprovalClosed
from agents.models import Approval
from agents.redaction import redact
from agents.telling import tell_of_answer
from netra.console.permissions import OPERATE, shows_content
from netra.console.readonly import ReadOnlyAdmin, json_block

SAID: Final = {"reason", "tool_name", "arguments", "edited_arguments", "comment"}
"""For those alone who may see contents."""


class ApprovalAdmin(ReadOnlyAdmin):
    list_display = (
        "approval_id",
        "execution",
        "user",
        "reason",
        "requested_at",
        "expires_at",
        "decision",
        "resolved_by",
    )
    list_filter = ("decision", "requested_at")
    list_select_related = ("execution__user", "resolved_by")
    search_fields = ("=approval_id", "=execution__run_id", "=execution__user__username")
    actions = ("approve", "reject")
    fields = (
        *("approval_id", "execution", "reason", "tool_name", "arguments", "requested_at", "expires_at"),
        *("decision", "edited_arguments", "comment", "resolved_at", "resolved_by"),
    )

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        return tuple(name for name in self.list_display if name not in SAID or shows_content(request))

    def get_fields(self, request: HttpRequest, obj: Approval | None = None) -> tuple[Any, ...]:
        return tuple(name for name in self.fields if name not in SAID or shows_content(request))

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(OPERATE)

    @admin.display(description="user")
    def user(self, approval: Approval) -> str:
        return str(approval.execution.user)

    @admin.display(description="arguments, as edited")
    def edited_arguments(self, approval: Approval) -> SafeString | str:
        return json_block(redact(msgspec.json.decode(approval.edited))) if approval.edited else "–"

    @admin.action(description="Approve the selected", permissions=["operate"])
    def approve(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        """As their users could, with the arguments as they are."""
        self._answer(request, queryset, "approve")

    @admin.action(description="Reject the selected", permissions=["operate"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Approval]) -> None:
        self._answer(request, queryset, "reject")

    def _answer(self, request: HttpRequest, queryset: QuerySet[Approval], answer: Answer) -> None:
        answered = 0
        for approval in self.chosen(request, queryset).select_related("execution"):
            run_id = approval.execution.run_id
            try:
                resolve_approval(
                    user_id=None, run_id=run_id, approval_id=approval.approval_id, answer=answer, by=request.user.pk
                )
            except ApprovalClosed as error:
                self.message_user(request, f"{error.message} ({approval.approval_id})", messages.WARNING)
                continue
            self.log_change(request, approval, f"Answered: {answer}.")
            tell_of_answer(run_id)
            answered += 1
        if answered:
            self.message_user(request, f"{answered} answered.", messages.SUCCESS)
