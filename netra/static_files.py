"""WhiteNoise for ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.responders import StaticFile

GetResponse = Callable[[HttpRequest], Any]


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]  # it has no types
    """Serves static files without sending every other request through a thread.

    WhiteNoise's own middleware is synchronous, and so are the streams it answers with, of which Django warns.
    Netra's files are small: under ASGI each is one answer.
    """

    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        return self.respond(request) if self.is_async else super().__call__(request)

    async def respond(self, request: HttpRequest) -> HttpResponseBase:
        find = self.find_file if self.autorefresh else self.files.get
        if (static_file := find(request.path_info)) is None:
            answer: HttpResponseBase = await self.get_response(request)
            return answer
        return await asyncio.to_thread(self.whole, static_file, request)

    def whole(self, static_file: StaticFile, request: HttpRequest) -> HttpResponse:
        with contextlib.closing(self.serve(static_file, request)) as stream:
            return HttpResponse(stream.getvalue(), status=stream.status_code, headers=dict(stream.headers))
