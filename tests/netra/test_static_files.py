import contextlib

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from netra.static_files import StaticFilesMiddleware


@pytest.fixture
def static_root(settings, tmp_path):
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "chat.js").write_text("export const here = true;")
    return tmp_path


@pytest.fixture
def middleware(static_root):
    async def view(request):
        return HttpResponse("the view")

    return StaticFilesMiddleware(view)


async def get(middleware, path: str, **headers: str) -> HttpResponse:
    answer = await middleware(RequestFactory().get(path, headers=headers))
    assert isinstance(answer, HttpResponse)
    return answer


async def test_a_file_is_one_answer(middleware):
    answer = await get(middleware, "/static/chat.js")

    assert (answer.status_code, answer.streaming) == (200, False)
    assert answer.content == b"export const here = true;"
    assert answer.headers["Content-Type"].startswith("text/javascript")


async def test_a_browser_asks_each_time_and_is_told_when_nothing_changed(middleware):
    first = await get(middleware, "/static/chat.js")
    second = await get(middleware, "/static/chat.js", if_modified_since=first.headers["Last-Modified"])

    assert "max-age=0" in first.headers["Cache-Control"]
    assert (second.status_code, second.content) == (304, b"")


async def test_a_part_of_a_file(middleware):
    answer = await get(middleware, "/static/chat.js", range="bytes=0-5")

    assert (answer.status_code, answer.content) == (206, b"export")


@pytest.mark.parametrize("path", ["/", "/static/", "/static/other.js", "/static/../secret_key"])
async def test_all_else_is_the_views(middleware, path):
    assert (await get(middleware, path)).content == b"the view"


async def test_while_debugging_the_apps_own_files_are_served(settings, static_root):
    settings.WHITENOISE_USE_FINDERS = settings.WHITENOISE_AUTOREFRESH = True

    async def view(request):
        return HttpResponse("the view")

    answer = await get(StaticFilesMiddleware(view), "/static/admin/css/base.css")

    assert answer.status_code == 200
    assert b"{" in answer.content


def test_without_asgi_it_works_as_well(static_root):
    middleware = StaticFilesMiddleware(lambda request: HttpResponse("the view"))

    with contextlib.closing(middleware(RequestFactory().get("/static/chat.js"))) as answer:
        assert answer.getvalue() == b"export const here = true;"
    assert middleware(RequestFactory().get("/")).content == b"the view"
