"""Spans over gRPC to a real server with OTLP's own service: what arrives, and what becomes of each refusal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import polars as pl
import pytest
from google.protobuf.any_pb2 import Any as Detail
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from pydantic import ValidationError
from pytest_httpserver import HTTPServer

from flows.settings.sinks import OTLPSection
from sinks.base import Unavailable
from sinks.otlp import OTLP
from tests.sinks.test_otlp import frame_of, span_row, spans_in

grpc = pytest.importorskip("grpc")
pytest.importorskip("trustme")

import trustme  # noqa: E402
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service  # noqa: E402

SECRET = "a-secret-that-nobody-may-see"
Answer = Callable[[ExportTraceServiceRequest, Any], ExportTraceServiceResponse]


class GrpcBackend(service.TraceServiceServicer):
    """Takes spans; ``answers`` are given first, each once; ``bad`` spans are refused.

    ``busy`` says what else to answer to spans of these names.
    """

    def __init__(self, port: int = 0, credentials: Any = None, most: int = 4 << 20) -> None:
        self.requests: list[tuple[dict[str, str], ExportTraceServiceRequest]] = []
        self.answers: list[Answer] = []
        self.bad: set[str] = set()
        self.busy: Callable[[list[str]], Answer | None] = lambda _: None
        options = [("grpc.max_receive_message_length", most), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(ThreadPoolExecutor(4), options=options)
        service.add_TraceServiceServicer_to_server(self, self._server)
        place = f"localhost:{port}"
        if credentials is None:
            self.port = self._server.add_insecure_port(place)
        else:
            self.port = self._server.add_secure_port(place, credentials)
        self.url = f"{'http' if credentials is None else 'https'}://localhost:{self.port}"
        self._server.start()

    def Export(  # noqa: N802 - the service's name
        self, request: Any, context: Any
    ) -> ExportTraceServiceResponse:
        if self.answers:
            return self.answers.pop(0)(request, context)
        if (busy := self.busy([span.name for span in spans_in(request)])) is not None:
            return busy(request, context)
        if any(span.name in self.bad for span in spans_in(request)):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad span")
        self.requests.append((dict(context.invocation_metadata()), request))
        return ExportTraceServiceResponse()

    def names(self) -> list[str]:
        return sorted(span.name for _, request in self.requests for span in spans_in(request))

    def close(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def backend() -> Iterator[GrpcBackend]:
    made = GrpcBackend()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _no_secret_is_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.DEBUG):
        yield
    assert SECRET not in caplog.text


def sink(url: str, **settings: Any) -> OTLP:
    return OTLP(OTLPSection(protocol="grpc", endpoint=url, **({"timeout": "1m"} | settings)))


def spans(count: int) -> pl.DataFrame:
    return frame_of(*(span_row(number) for number in range(1, count + 1)))


def names(count: int) -> list[str]:
    return sorted(f"GET {number}" for number in range(1, count + 1))


def fails(code: Any, *details: Any) -> Answer:
    def answer(_: Any, context: Any) -> Any:
        status = Status(code=code.value[0], message="not now")
        for detail in details:
            packed = Detail()
            packed.Pack(detail)
            status.details.append(packed)
        if details:
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(code, "not now")

    return answer


def retry_after(seconds: int, nanos: int = 0) -> RetryInfo:
    info = RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
    return info


@pytest.mark.parametrize("gzip", [True, False])
def test_requests_are_cut_by_size_and_by_tenant_and_carry_metadata(
    backend: GrpcBackend, gzip: bool, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{SECRET}\n")
    frame = frame_of(*(span_row(n, tenant="ab"[n % 2]) for n in range(1, 21)))
    made = sink(
        backend.url,
        batch_bytes=200,
        gzip=gzip,
        tenant_header="X-Scope-OrgID",
        headers={"X-Key_file": str(tmp_path / "key"), "X-Other": "shown"},
    )
    assert made.write(frame) is None
    made.close()
    assert backend.names() == names(20)
    assert len(backend.requests) > 4
    for metadata, request in backend.requests:
        assert metadata["x-key"] == SECRET
        assert metadata["x-other"] == "shown"
        assert "Headrace" in metadata["user-agent"]
        tenants = {"ab"[int(span.name[4:]) % 2] for span in spans_in(request)}
        assert tenants == {metadata["x-scope-orgid"]}


def test_what_is_refused_for_good_stands_alone_and_can_be_restored(backend: GrpcBackend) -> None:
    backend.bad = {"GET 3", "GET 11"}
    made = sink(backend.url)
    refused = made.write(spans(13))
    assert refused is not None
    assert all(f"{backend.url}: INVALID_ARGUMENT bad span" in text for text in refused["reason"])
    assert backend.names() == sorted(set(names(13)) - backend.bad)
    restored = made.restore(refused["payload"].to_list())
    assert sorted(restored["span_id"]) == [f"{3:016x}", f"{11:016x}"]


def test_a_request_that_is_too_large_is_halved_and_a_span_that_is_too_large_refused() -> None:
    backend = GrpcBackend(most=3_000)
    frame = pl.concat([spans(60), frame_of(span_row(61, scope="x" * 5_000))])
    refused = sink(backend.url).write(frame)
    backend.close()
    assert refused is not None
    assert refused.height == 1
    assert "RESOURCE_EXHAUSTED" in refused["reason"][0]
    assert backend.names() == names(60)


@pytest.mark.parametrize(
    ("code", "details", "again"),
    [
        ("CANCELLED", (), True),
        ("DEADLINE_EXCEEDED", (), True),
        ("ABORTED", (), True),
        ("OUT_OF_RANGE", (), True),
        ("DATA_LOSS", (), True),
        ("UNAVAILABLE", (), True),
        ("UNAVAILABLE", (retry_after(7),), True),
        ("RESOURCE_EXHAUSTED", (retry_after(7),), True),
        ("RESOURCE_EXHAUSTED", (BadRequest(), retry_after(0)), True),
        ("RESOURCE_EXHAUSTED", (BadRequest(),), False),
        ("RESOURCE_EXHAUSTED", (), False),
        ("INVALID_ARGUMENT", (), False),
        ("ALREADY_EXISTS", (), False),
        ("FAILED_PRECONDITION", (), False),
        ("INTERNAL", (), False),
        ("UNKNOWN", (), False),
        # Not to be sent again as it is; but an operator can mend it, so nothing is given up.
        ("UNAUTHENTICATED", (), True),
        ("PERMISSION_DENIED", (), True),
        ("UNIMPLEMENTED", (), True),
        ("NOT_FOUND", (), True),
    ],
)
def test_what_may_be_sent_again_is_and_what_may_not_is_a_dead_letter(
    backend: GrpcBackend, code: str, details: tuple[Any, ...], again: bool
) -> None:
    status = grpc.StatusCode[code]
    made = sink(backend.url)
    backend.answers = [fails(status, *details)]
    if not again:
        refused = made.write(spans(1))
        assert refused is not None
        assert f"{code} not now" in refused["reason"][0]
        assert backend.names() == []
        return
    with pytest.raises(Unavailable, match=f"otlp: {backend.url}: {code} not now") as caught:
        made.write(spans(1))
    asked = [each.retry_delay.seconds for each in details if isinstance(each, RetryInfo)]
    assert caught.value.retry_after == (asked[0] if asked else None)
    assert made.write(spans(1)) is None
    assert backend.names() == names(1)


def test_of_a_batch_whose_halves_fare_differently_each_span_has_one_fate(
    backend: GrpcBackend,
) -> None:
    backend.bad = {"GET 1"}
    busy = fails(grpc.StatusCode.UNAVAILABLE, retry_after(1, 500_000_000))
    backend.busy = lambda found: busy if "GET 5" in found and len(found) == 4 else None
    made, frame = sink(backend.url), spans(8)
    with pytest.raises(Unavailable) as caught:
        made.write(frame)
    assert caught.value.retry_after == 1.5
    assert backend.names() == ["GET 2", "GET 3", "GET 4"]
    backend.busy = lambda _: None
    refused = made.write(frame)
    assert refused is not None
    assert refused.height == 1
    assert backend.names() == sorted(set(names(8)) - backend.bad)


def test_a_partial_success_is_told_and_not_sent_again(
    backend: GrpcBackend, caplog: pytest.LogCaptureFixture
) -> None:
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "too old"
    backend.answers = [lambda *_: response]
    assert sink(backend.url).write(spans(2)) is None
    assert "left out 2 spans, and does not say which: too old" in caplog.text
    assert backend.requests == []


def test_a_backend_that_comes_back_is_found_at_once(backend: GrpcBackend) -> None:
    made = sink(backend.url)
    assert made.write(spans(1)) is None
    backend.close()
    for _ in range(3):
        with pytest.raises(Unavailable, match=f"otlp: {backend.url}: UNAVAILABLE"):
            made.write(spans(2))
    again = GrpcBackend(backend.port)
    assert made.write(spans(2)) is None
    assert again.names() == names(2)
    again.close()


def test_a_backend_that_does_not_answer_is_given_up_in_time(backend: GrpcBackend) -> None:
    ended = Event()
    backend.answers = [lambda *_: ended.wait(60) and ExportTraceServiceResponse()]
    made = sink(backend.url, timeout="300ms")
    with pytest.raises(Unavailable, match="DEADLINE_EXCEEDED"):
        made.write(spans(1))
    ended.set()
    made = sink(backend.url, timeout="1m")
    assert made.write(spans(1)) is None


def test_a_backend_is_asked_whether_it_takes_spans(
    backend: GrpcBackend, httpserver: HTTPServer
) -> None:
    sink(backend.url, tenant_header="X-Scope-OrgID").reach()
    assert backend.names() == []
    backend.answers = [fails(grpc.StatusCode.UNAUTHENTICATED)]
    with pytest.raises(Unavailable, match=r"UNAUTHENTICATED not now; set sinks\.otlp\.headers"):
        sink(backend.url).reach()
    backend.answers = [fails(grpc.StatusCode.INTERNAL)]
    with pytest.raises(Unavailable, match="INTERNAL not now"):
        sink(backend.url).reach()
    other = httpserver.url_for("").rstrip("/")
    with pytest.raises(Unavailable, match=rf"otlp: {other}: .*; .*set sinks.otlp.protocol: http"):
        sink(other).reach()
    with pytest.raises(Unavailable, match="if gRPC answers there, set"):
        OTLP(OTLPSection(endpoint=backend.url)).reach()


def test_both_sides_show_certificates(tmp_path: Path) -> None:
    ca, other = trustme.CA(), trustme.CA()
    own, known = ca.issue_cert("localhost"), ca.issue_cert("headrace@shop.example")
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    other.cert_pem.write_to_path(tmp_path / "other.pem")
    known.private_key_pem.write_to_path(tmp_path / "key.pem")
    known.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    backend = GrpcBackend(
        credentials=grpc.ssl_server_credentials(
            [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())],
            ca.cert_pem.bytes(),
            require_client_auth=True,
        )
    )
    trusted = {"ca_certs": tmp_path / "ca.pem"}
    shown = {
        "client_certificate": tmp_path / "certificate.pem",
        "client_key": tmp_path / "key.pem",
    }
    assert sink(backend.url, **trusted, **shown).write(spans(2)) is None
    assert backend.names() == names(2)
    for settings, way_out in (
        (shown, "; set sinks.otlp.ca_certs"),
        ({"ca_certs": tmp_path / "other.pem"} | shown, "; set sinks.otlp.ca_certs"),
        ({"ca_certs": tmp_path / "none.pem"} | shown, "none.pem: No such file or directory"),
        (trusted, "; if it asks for a certificate, set sinks.otlp.client_certificate"),
    ):
        with pytest.raises(Unavailable, match=f"otlp: {backend.url}: .*{way_out}"):
            sink(backend.url, **settings).write(spans(2))
    backend.close()


def test_where_there_is_no_tls_it_says_so(backend: GrpcBackend) -> None:
    made = sink(backend.url.replace("http", "https"))
    with pytest.raises(Unavailable, match="there is no TLS there: write http://"):
        made.write(spans(1))


def test_a_tenant_that_is_no_text_of_metadata_is_refused(backend: GrpcBackend) -> None:
    frame = frame_of(span_row(1), span_row(2, tenant="käse"))
    refused = sink(backend.url, tenant_header="X-Scope-OrgID").write(frame)
    assert refused is not None
    assert "X-Scope-OrgID can't be 'käse'" in refused["reason"].item()
    assert backend.names() == names(1)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            {"endpoint": "http://jaeger:4317/v1/traces"},
            "endpoint: of gRPC it has a host and a port",
        ),
        ({"endpoint": f"http://me:{SECRET}@jaeger:4317"}, "endpoint: of gRPC it has a host"),
        ({"headers": {"k": f"{SECRET}\n"}}, "headers.k: gRPC takes printable ASCII only"),
        ({"headers": {"k-bin": "x"}}, '"k-bin" can\'t be a name'),
        ({"tenant_header": "a b"}, '"a b" can\'t be a name'),
        ({"client_key": "key.pem"}, "give both client_certificate and client_key"),
        ({"headers": {"k_file": "/no/such/file"}}, "k_file: cannot read /no/such/file"),
        ({"headers": {"k_file": "/no/such/file", "k": "x"}}, "give either k or k_file"),
    ],
)
def test_settings_that_grpc_can_not_have_are_named(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as raised:
        OTLPSection(**({"protocol": "grpc", "endpoint": "http://jaeger:4317"} | settings))
    assert fault in str(raised.value)
    assert SECRET not in str(raised.value)
