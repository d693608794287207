"""The proxy that stands before a backend: it passes on, and misbehaves when told to."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pytest_httpserver import HTTPServer

from tests.backends.proxy import Mode, Proxy

BODY = b"x" * 300_000


@pytest.fixture
def proxy(httpserver: HTTPServer) -> Iterator[Proxy]:
    httpserver.expect_request("/write", method="POST", data=BODY).respond_with_data(
        BODY.upper(), headers={"X-Kept": "yes"}
    )
    with Proxy(httpserver.url_for("")) as proxy:
        yield proxy


def post(proxy: Proxy, timeout: float = 10) -> httpx.Response:
    return httpx.post(f"{proxy.url}/write", content=BODY, timeout=timeout)


def test_requests_and_answers_pass_whole(proxy: Proxy) -> None:
    with httpx.Client() as client:
        for _ in range(3):
            answer = client.post(f"{proxy.url}/write", content=BODY)
            assert (answer.status_code, answer.content) == (200, BODY.upper())
            assert answer.headers["x-kept"] == "yes"
    assert proxy.affected == 0


def test_it_answers_for_the_backend(proxy: Proxy, httpserver: HTTPServer) -> None:
    with proxy.misbehaving(Mode("answer", 429, retry_after=3)) as affected:
        answer = post(proxy)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "3")
        assert affected() == 1
    assert not httpserver.log
    assert post(proxy).status_code == 200


def test_it_never_answers(proxy: Proxy, httpserver: HTTPServer) -> None:
    with proxy.misbehaving(Mode("hang")), pytest.raises(httpx.ReadTimeout):
        post(proxy, timeout=0.5)
    assert not httpserver.log


def test_it_cuts_an_answer_that_the_backend_has_given(proxy: Proxy, httpserver: HTTPServer) -> None:
    with (
        proxy.misbehaving(Mode("cut")),
        pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)),
    ):
        post(proxy)
    assert len(httpserver.log) == 1
