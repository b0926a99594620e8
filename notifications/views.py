"""The chat page, and the door to it."""

from datetime import timedelta
from pathlib import Path

from django.contrib.auth import get_user_model, login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST, require_safe

from notifications import csp
from notifications.api import agent_list
from notifications.authentication import authenticate_headers
from notifications.credentials import issue, redeem
from notifications.models import AccessToken

TICKET_LIFETIME = timedelta(seconds=30)
LOGIN_BACKEND = "django.contrib.auth.backends.ModelBackend"
STATIC = Path(__file__).parent / "static"
MODULES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*.js"))
"""All that the page's script imports: the browser asks for them at once, rather than for each when another names it."""


@require_safe
@never_cache
@login_required
def chat(request: HttpRequest, thread_id: str = "") -> HttpResponse:
    """One page for all threads: the scripts read from the address which one to show."""
    context = {"agents": agent_list(), "user_id": str(request.user.pk), "modules": MODULES}
    response = render(request, "notifications/chat.html", context)
    response.headers[csp.HEADER] = csp.policy(request, trusted_types=True)
    return response


@require_GET  # not HEAD: whoever only looks must not use the link up
@never_cache
def login_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Logs in whoever opens a link that `manage.py login_link` printed. Once; after that the link is gone (410)."""
    link = redeem(AccessToken.Kind.LOGIN_LINK, secret)
    if link is None:
        response = render(request, "notifications/link_expired.html", status=410)
    else:
        login(request, link.user, backend=LOGIN_BACKEND)
        response = redirect("chat")
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is a secret
    return response


@csrf_exempt  # a session counts only from an allowed Origin, see authenticate_headers
@require_POST
@never_cache
def issue_ticket(request: HttpRequest) -> JsonResponse:
    """A single-use secret that opens one socket: for browsers, which can put no token into a handshake's headers."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    credential = authenticate_headers(headers)
    if credential is None:
        detail = "Show an API token (Authorization: Bearer …), or a session from a page of this server."
        problem = {"title": "Forbidden", "status": 403, "code": "forbidden", "detail": detail}
        return JsonResponse(problem, status=403, content_type="application/problem+json")
    user = get_user_model().objects.get(pk=credential.user_id)
    ticket = issue(
        user,
        AccessToken.Kind.TICKET,
        lifetime=TICKET_LIFETIME,
        session_key=credential.session_key or "",
        api_token_id=credential.token_id,
    )
    return JsonResponse({"ticket": ticket, "expires_in": TICKET_LIFETIME.total_seconds()}, status=201)
