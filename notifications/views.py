"""The chat page, and the door to it."""

from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_safe

from agents.registry import get_agent_registry
from notifications import csp
from notifications.credentials import redeem
from notifications.models import AccessToken

LOGIN_BACKEND = "django.contrib.auth.backends.ModelBackend"


@require_safe
@never_cache
@login_required
def chat(request: HttpRequest) -> HttpResponse:
    agents = [{"name": agent.name, "description": agent.description} for agent in get_agent_registry().agents()]
    context = {"agents": agents, "user_id": str(request.user.pk)}
    response = render(request, "notifications/chat.html", context)
    response.headers[csp.HEADER] = csp.policy(request, trusted_types=True)
    return response


@require_GET  # not HEAD: whoever only looks must not use the link up
@never_cache
def login_link(request: HttpRequest, secret: str) -> HttpResponse:
    """Logs in whoever opens a link that `manage.py login_link` printed. Once; after that the link is gone (410)."""
    user = redeem(AccessToken.Kind.LOGIN_LINK, secret)
    if user is None:
        response = render(request, "notifications/link_expired.html", status=410)
    else:
        login(request, user, backend=LOGIN_BACKEND)
        response = redirect("chat")
    response.headers["Referrer-Policy"] = "no-referrer"  # the address is a secret
    return response
