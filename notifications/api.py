"""The HTTP side for clients, under /api/v1/: agents, threads, approvals. Errors have protocol.md's codes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from agents import threads
from agents.answering import answer_approval
from agents.errors import InvalidMessage, NetraError, NotReady
from agents.registry import get_agent_registry
from agents.telling import tell_of_answer
from notifications import protocol
from notifications.authentication import authenticate_headers

MAX_BODY_BYTES: Final = 10_000
PAGE_LIMIT: Final = 100
STATUS: Final = {
    "not_found": 404,
    "busy": 409,
    "approval_closed": 409,
    "message_too_large": 413,
    "not_ready": 503,
    "forbidden": 403,
    "method_not_allowed": 405,
}
SAFE: Final = ("GET", "HEAD")
WHO_ARE_YOU: Final = "Show an API token (Authorization: Bearer …), or a session from a page of this server."

Handler = Callable[..., HttpResponse]


class Rename(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str


def user_id_of(request: HttpRequest) -> int | None:
    """By token, or by session. What changes something takes a session only from an allowed Origin, in place of a
    CSRF token; what only reads needs none, because no page of another origin sees the answer."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    if request.method in SAFE and "authorization" not in headers:
        return request.user.pk if request.user.is_authenticated else None
    credential = authenticate_headers(headers)
    return credential.user_id if credential is not None else None


def problem(code: str, detail: str, *, field: str | None = None, retry_after: float | None = None) -> HttpResponse:
    status = STATUS.get(code, 400)
    document = {"title": code.replace("_", " ").capitalize(), "status": status, "code": code, "detail": detail}
    optional = {"field": field, "retry_after": retry_after}
    document |= {name: value for name, value in optional.items() if value is not None}
    return HttpResponse(msgspec.json.encode(document), status=status, content_type="application/problem+json")


def answer(value: object) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(value), content_type="application/json")


def endpoint(**methods: Handler) -> Handler:
    """A view of these methods, each called as `handler(request, user_id, **parts of the path)`."""

    @csrf_exempt
    @never_cache
    def view(request: HttpRequest, **parts: str) -> HttpResponse:
        handler = methods.get("GET" if request.method == "HEAD" else str(request.method))
        if handler is None:
            response = problem("method_not_allowed", f"This address takes {', '.join(methods)}.")
            response.headers["Allow"] = ", ".join(methods)
            return response
        try:
            user_id = user_id_of(request)
            return problem("forbidden", WHO_ARE_YOU) if user_id is None else handler(request, user_id, **parts)
        except NetraError as error:
            return problem(error.code, error.message, field=error.field, retry_after=error.retry_after)
        except RequestDataTooBig:
            return problem(protocol.MessageTooLarge.code, "The body is much too large. Send less.")
        except DatabaseError:
            return problem(NotReady.code, "The database cannot be reached right now. Try again.", retry_after=1.0)

    return wraps(next(iter(methods.values())))(view)


def page_of(request: HttpRequest, *, default: int) -> dict[str, Any]:
    """`before` and `limit` from the query."""
    text = request.GET.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= PAGE_LIMIT):
        raise InvalidMessage(f"limit is a number from 1 to {PAGE_LIMIT}.", field="limit")
    return {"before": request.GET.get("before"), "limit": int(text)}


def _agents(request: HttpRequest, user_id: int) -> HttpResponse:
    return answer({"agents": agent_list()})


def agent_list() -> list[dict[str, str]]:
    return [{"name": agent.name, "description": agent.description} for agent in get_agent_registry().agents()]


def _threads(request: HttpRequest, user_id: int) -> HttpResponse:
    return answer(threads.list_threads(user_id, search=request.GET.get("q", ""), **page_of(request, default=50)))


def _thread(request: HttpRequest, user_id: int, thread_id: str) -> HttpResponse:
    return answer(threads.read_thread(user_id, thread_id, **page_of(request, default=10)))


def _rename(request: HttpRequest, user_id: int, thread_id: str) -> HttpResponse:
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidMessage(f"The body has at most {MAX_BODY_BYTES:,} bytes.", field="title")
    try:
        wanted = msgspec.json.decode(request.body, type=Rename)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise InvalidMessage(f'Send {{"title": "…"}}: {error}', field="title") from error
    return answer({"thread_id": thread_id, "title": threads.rename_thread(user_id, thread_id, wanted.title)})


def _delete(request: HttpRequest, user_id: int, thread_id: str) -> HttpResponse:
    threads.delete_thread(user_id, thread_id)
    return HttpResponse(status=204)


def _resolve_approval(request: HttpRequest, user_id: int, run_id: str, approval_id: str) -> HttpResponse:
    said = protocol.read_answer(request.body.decode("utf-8", "surrogateescape"))
    decision = answer_approval(
        get_agent_registry(),
        user_id=user_id,
        run_id=run_id,
        approval_id=approval_id,
        answer=said.decision,
        arguments=said.arguments,
        comment=said.comment,
    )
    tell_of_answer(run_id)
    return answer({"run_id": run_id, "approval_id": approval_id, "decision": decision})


agents_view = endpoint(GET=_agents)
threads_view = endpoint(GET=_threads)
thread_view = endpoint(GET=_thread, PATCH=_rename, DELETE=_delete)
approval_view = endpoint(POST=_resolve_approval)
