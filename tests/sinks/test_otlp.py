"""Spans to an OTLP backend: what arrives is what was kept, whatever the backend answers."""

from __future__ import annotations

import gzip
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import trustme
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import SecretStr

from flows.settings.sinks import OTLPSection
from operators.contracts.frames import SPANS
from operators.decoders import SPAN_DECODERS
from sinks.base import Unavailable
from sinks.otlp import OTLP
from sinks.otlp_encoding import encode_spans, with_threshold

ALL = 1 << 56


def span_row(
    number: int,
    *,
    service: str = "shop",
    state: str = "",
    threshold: int = 0,
    scope: str = "",
    **more: Any,
) -> dict[str, Any]:
    span = Span(
        trace_id=number.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name=f"GET {number}",
        trace_state=state, kind=Span.SPAN_KIND_SERVER, start_time_unix_nano=5, end_time_unix_nano=9,
    )  # fmt: skip
    resource = Resource()
    resource.attributes.add(key="service.name").value.string_value = service
    return {
        "tenant": "t", "trace_id": f"{number:032x}", "span_id": f"{number:016x}", "parent_span_id": "",
        "service": service, "operation": "GET *", "kind": 2, "status": 0, "begun": 5, "ended": 9,
        "threshold": threshold, "reason": "rest", "span": span.SerializeToString(),
        "resource": resource.SerializeToString(),
        "scope": InstrumentationScope(name=scope).SerializeToString(),
    } | more  # fmt: skip


def frame_of(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SPANS)


class Backend:
    """A server that takes OTLP; ``answers`` are given first, each once; ``bad`` spans are refused."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[dict[str, str], ExportTraceServiceRequest]] = []
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.bad: set[str] = set()
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                try:
                    request = ExportTraceServiceRequest.FromString(body)
                    status, answer, headers = backend.answer(request)
                except DecodeError:
                    status, answer, headers = 400, b"not protobuf", {}
                if status == 200:
                    backend.requests.append((dict(self.headers) | {"path": self.path}, request))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if trust is not None:
            self._server.socket = trust.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if trust is None else "https"
        self.url = f"{scheme}://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: ExportTraceServiceRequest) -> tuple[int, bytes, dict[str, str]]:
        if self.answers:
            return self.answers.pop(0)
        if any(span.name in self.bad for span in spans_in(request)):
            return 400, b"bad span", {}
        return 200, b"", {}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def names(self) -> list[str]:
        return [span.name for _, request in self.requests for span in spans_in(request)]


def spans_in(request: ExportTraceServiceRequest) -> list[Span]:
    return [span for r in request.resource_spans for s in r.scope_spans for span in s.spans]


@pytest.fixture
def backend() -> Iterator[Backend]:
    made = Backend()
    yield made
    made.close()


def sink(backend: Backend, **settings: Any) -> OTLP:
    return OTLP(OTLPSection(endpoint=backend.url, **settings))


states = st.sampled_from(
    ["", "ot=th:8", "ot=rv:12345678901234;th:4,x=1", "x=1,y=2", "z=" + "a" * 200]
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["shop", "pay", "x" * 200]), st.sampled_from(["", "lib"]), states,
            st.sampled_from([0, 1, ALL // 2, ALL - 1, 3 << 53]),
        ),
        max_size=30,
    )
)  # fmt: skip
def test_what_is_sent_is_what_was_kept(rows: list[tuple[str, str, str, int]]) -> None:
    frame = frame_of(
        *(
            span_row(n + 1, service=service, scope=scope, state=state, threshold=threshold)
            for n, (service, scope, state, threshold) in enumerate(rows)
        )
    )
    request = ExportTraceServiceRequest.FromString(encode_spans(frame))
    found = {}
    for resource in request.resource_spans:
        service = resource.resource.attributes[0].value.string_value
        for part in resource.scope_spans:
            for span in part.spans:
                found[span.name] = service, part.scope.name, span
    assert len(found) == len(rows)
    for number, (service, scope, state, threshold) in enumerate(rows, start=1):
        there = found[f"GET {number}"]
        assert there[:2] == (service, scope)
        expected = Span.FromString(frame["span"][number - 1])
        if threshold:
            expected.trace_state = with_threshold(state, threshold)
        assert there[2] == expected
    # What was kept with a threshold says so to whoever reads it, our own decoder too.
    decoded = SPAN_DECODERS["otlp_proto"].decode([encode_spans(frame)], np.empty(0, np.uint64))
    told = dict(zip(decoded.rows["span"].tolist(), decoded.rows["threshold"].tolist(), strict=True))
    for number, (*_, threshold) in enumerate(rows, start=1):
        if threshold:
            assert told[number] == threshold


def test_a_span_with_a_text_that_is_not_utf_8_is_sent_mended(backend: Backend) -> None:
    rows = [span_row(n) for n in range(1, 9)]
    rows[2]["span"] = rows[2]["span"].replace(b"GET 3", b"GET \xff")
    rows[5]["resource"] = rows[5]["resource"].replace(b"shop", b"sh\xffp")
    rows[6]["span"] = b"\x2a\x05\xff"  # no span at all
    refused = sink(backend).write(frame_of(*rows))
    assert refused is not None
    assert refused.height == 1
    assert sorted(backend.names()) == sorted(
        ["GET \ufffd", *(f"GET {n}" for n in (1, 2, 4, 5, 6, 8))]
    )
    services = {
        r.resource.attributes[0].value.string_value
        for _, request in backend.requests
        for r in request.resource_spans
    }
    assert "sh\ufffdp" in services


def test_a_threshold_in_a_tracestate() -> None:
    assert with_threshold("", ALL // 2) == "ot=th:8"
    assert (
        with_threshold("a=1, ot=rv:12;th:8;x:y ,b=2", ALL - 1)
        == "ot=rv:12;x:y;th:" + "f" * 14 + ",a=1,b=2"
    )
    assert with_threshold("a=" + "1" * 600, ALL // 2) == "ot=th:8"


def test_requests_are_cut_by_size_and_by_tenant_and_carry_headers(backend: Backend) -> None:
    rows = [span_row(n, tenant="ab"[n % 2]) for n in range(1, 21)]
    made = sink(
        backend,
        batch_bytes=200,
        gzip=False,
        tenant_header="X-Scope-OrgID",
        headers={"X-Key": "secret"},
    )
    assert made.write(frame_of(*rows)) is None
    assert len(backend.requests) > 4
    for headers, request in backend.requests:
        assert headers["path"] == "/v1/traces"
        assert headers["X-Key"] == "secret"
        assert headers["Content-Type"] == "application/x-protobuf"
        tenants = {"ab"[int(span.name[4:]) % 2] for span in spans_in(request)}
        assert tenants == {headers["X-Scope-OrgID"]}
    assert sorted(backend.names()) == sorted(f"GET {n}" for n in range(1, 21))


def test_what_is_refused_for_good_stands_alone_and_can_be_restored(backend: Backend) -> None:
    backend.bad = {"GET 3", "GET 11"}
    frame = frame_of(*(span_row(n) for n in range(1, 14)))
    made = sink(backend)
    refused = made.write(frame)
    assert refused is not None
    assert all("400 bad span" in reason for reason in refused["reason"])
    assert sorted(backend.names()) == sorted(f"GET {n}" for n in range(1, 14) if n not in (3, 11))
    restored = made.restore(refused["payload"].to_list())
    assert restored.equals(frame.filter(pl.col("span_id").is_in([f"{3:016x}", f"{11:016x}"])))
    with pytest.raises(ValueError, match=r"\w"):
        made.restore([b"{}"])


@pytest.mark.parametrize("status", [408, 429, 500, 503, 401, 404])
def test_what_can_not_be_taken_now_is_sent_again_and_what_was_taken_is_not(
    backend: Backend, status: int
) -> None:
    made = sink(backend, batch_bytes=200)
    frame = frame_of(*(span_row(n) for n in range(1, 10)))
    backend.answers = [(200, b"", {}), (status, b"not now", {"Retry-After": "7"})]
    with pytest.raises(Unavailable, match=f"{status} not now") as caught:
        made.write(frame)
    assert caught.value.retry_after == 7
    assert 0 < len(backend.names()) < 9
    assert made.write(frame) is None
    assert sorted(backend.names()) == sorted(f"GET {n}" for n in range(1, 10))


def test_a_backend_is_asked_whether_it_takes_spans(backend: Backend) -> None:
    sink(backend, tenant_header="X-Scope-OrgID").reach()
    assert backend.names() == []
    backend.answers = [(404, b"no such page", {})]
    with pytest.raises(
        Unavailable, match=r"404 no such page; sinks\.otlp\.endpoint is the address"
    ):
        sink(backend).reach()


def test_a_partial_success_is_told_and_not_sent_again(
    backend: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 2
    answer.partial_success.error_message = "too old"
    backend.answers = [(200, answer.SerializeToString(), {})]
    assert sink(backend).write(frame_of(span_row(1), span_row(2))) is None
    assert "left out 2 spans, and does not say which: too old" in caplog.text
    assert len(backend.requests) == 1


def test_a_backend_that_is_away_is_named_without_secrets() -> None:
    made = OTLP(
        OTLPSection(endpoint="http://me:secret@127.0.0.1:1", headers={"k": SecretStr("secret")})
    )
    with pytest.raises(Unavailable, match=r"otlp: http://127\.0\.0\.1:1: ") as caught:
        made.write(frame_of(span_row(1)))
    assert "secret" not in str(caught.value)


def test_both_sides_show_certificates(tmp_path: Path) -> None:
    ca = trustme.CA()
    known = ca.issue_cert("headrace@shop.example")
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trust.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(trust)
    ca.issue_cert("localhost").configure_cert(trust)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    known.private_key_pem.write_to_path(tmp_path / "key.pem")
    known.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    backend = Backend(trust)
    certificates = {
        "client_certificate": tmp_path / "certificate.pem",
        "client_key": tmp_path / "key.pem",
    }
    made = sink(backend, ca_certs=tmp_path / "ca.pem", **certificates)
    assert made.write(frame_of(span_row(1))) is None
    assert backend.names() == ["GET 1"]
    with pytest.raises(Unavailable, match=backend.url):
        sink(backend, ca_certs=tmp_path / "ca.pem").write(frame_of(span_row(2)))
    backend.close()


def test_of_a_batch_whose_halves_fare_differently_each_span_has_one_fate(backend: Backend) -> None:
    backend.bad = {"GET 1"}
    made, frame = sink(backend), frame_of(*(span_row(n) for n in range(1, 5)))
    # The whole, its first half, and the two of that half: then it has enough for now.
    backend.answers = [
        (400, b"", {}),
        (400, b"", {}),
        (400, b"", {}),
        (200, b"", {}),
        (503, b"", {}),
    ]
    with pytest.raises(Unavailable):
        made.write(frame)
    assert backend.names() == ["GET 2"]
    refused = made.write(frame)
    assert refused is not None
    assert refused.height == 1
    assert backend.names() == ["GET 2", "GET 3", "GET 4"]
