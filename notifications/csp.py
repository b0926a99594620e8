"""Content-Security-Policy for every page: only this host's own files, and no inline script or style."""

from collections.abc import Awaitable, Callable

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase

Response = HttpResponseBase
GetResponse = Callable[[HttpRequest], Response] | Callable[[HttpRequest], Awaitable[Response]]

HEADER = "Content-Security-Policy"
REFERRER_POLICY = "same-origin"  # stricter ones break Django's CSRF check on HTTPS
DEBUG_PAGES = {404, 500}  # Django's own, full of inline styles, when DEBUG is on


class ContentSecurityPolicyMiddleware:
    """Adds the policy to each response that doesn't bring its own. Works in sync and in async stacks alike."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Response | Awaitable[Response]:
        response = self.get_response(request)
        if isinstance(response, HttpResponseBase):
            return protected(request, response)
        return self._later(request, response)

    async def _later(self, request: HttpRequest, response: Awaitable[Response]) -> Response:
        return protected(request, await response)


def protected(request: HttpRequest, response: Response) -> Response:
    response.headers.setdefault("Referrer-Policy", REFERRER_POLICY)
    if not (settings.DEBUG and response.status_code in DEBUG_PAGES):
        response.headers.setdefault(HEADER, policy(request))
    return response


def policy(request: HttpRequest, *, trusted_types: bool = False) -> str:
    """`trusted_types`: scripts can't turn text into HTML except through DOMPurify. Not for Django's admin, whose do."""
    directives = [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        f"connect-src {' '.join(_own_sources(request))}",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    if trusted_types:
        directives += ["require-trusted-types-for 'script'", "trusted-types dompurify"]
    return "; ".join(directives)


def _own_sources(request: HttpRequest) -> list[str]:
    """Browsers disagree on whether 'self' includes the WebSockets of the same host, so these are named."""
    try:
        host = request.get_host()
    except DisallowedHost:
        return ["'self'"]
    return ["'self'", f"ws://{host}", f"wss://{host}"]
