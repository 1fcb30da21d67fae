"""Traces follow OpenTelemetry's conventions, and neither they nor the log nor the counters tell what people say."""

import logging
from contextlib import suppress

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from persona_integrations.server import tracing
from tests.integrations.server.running import asks, running, until

SECRET, PERSON = "zorblaxian", "ann-of-green-gables"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="session")
def exporter():
    """What keeps the spans of this process; the provider of a process can be set only once."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(TracerProvider())
    made = InMemorySpanExporter()
    trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(made))
    return made


@pytest.fixture
def spans(exporter):
    exporter.clear()

    def ended(count):
        until(lambda: len(exporter.get_finished_spans()) >= count)
        return exporter.get_finished_spans()

    return ended


def test_a_chat(shared_gateway, up, spans):
    answer = shared_gateway.chat(user="ann").json()
    shared_gateway.chat(user="ann", stream=True, stream_options={"include_usage": True})
    whole, streamed = spans(2)
    port = int(up.url.split(":")[2].split("/")[0])
    for span in (whole, streamed):
        assert (span.name, span.kind) == ("chat m", SpanKind.CLIENT)
        assert span.instrumentation_scope.name == "persona_integrations.server"
        told = dict(span.attributes)
        assert told.pop("persona.tokens_added") > 10
        assert told.pop("gen_ai.response.id").startswith("chatcmpl-up")
        assert told.pop("gen_ai.response.finish_reasons") == ("stop",)
        assert told == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "m",
            "gen_ai.response.model": "m",
            "gen_ai.usage.input_tokens": 11,
            "gen_ai.usage.output_tokens": 6,
            "server.address": "127.0.0.1",
            "server.port": port,
            "persona.changed": True,
        }
    assert whole.attributes["gen_ai.response.id"] == answer["id"]


def test_other_calls(shared_gateway, up, spans):
    shared_gateway.http.post("/v1/responses", json={"model": "m", "input": "x", "user": "nobody"})
    shared_gateway.http.post("/v1/embeddings", json={"model": "m", "input": "x"})
    responses, embeddings = spans(2)
    assert responses.name == "chat m"
    assert responses.attributes["persona.changed"] is False
    assert responses.attributes["gen_ai.usage.output_tokens"] == 2
    assert embeddings.attributes["gen_ai.operation.name"] == "embeddings"


@pytest.mark.parametrize(
    ("text", "stream", "kind"),
    [("[500]", False, "500"), ("[429]", True, "429"), ("[reset]", False, "502"), ("[cut]", True, "broken stream")],
)
def test_a_failure(shared_gateway, spans, text, stream, kind):
    with suppress(shared_gateway.Broken):
        shared_gateway.chat(text, user="ann", stream=stream)
    [span] = spans(1)
    assert span.attributes["error.type"] == kind
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


def test_a_trace_goes_on(shared_gateway, up, spans):
    shared_gateway.http.post("/v1/chat/completions", json=asks(), headers={"traceparent": PARENT})
    [span] = spans(1)
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    sent = f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-01"
    assert up.requests[-1].header("traceparent") == [sent]


@pytest.mark.parametrize("odd", ["", "x", "00-0-0-0", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "é", "x" * 10_000])
def test_what_is_no_trace_begins_one(shared_gateway, up, spans, odd):
    headers = {"traceparent": odd.encode(), "tracestate": odd.encode(), "baggage": odd.encode()}
    assert shared_gateway.http.post("/v1/chat/completions", json=asks(), headers=headers).status_code == 200
    [span] = spans(1)
    assert span.parent is None
    assert len(up.requests[-1].header("traceparent")) == 1


def test_nothing_tells_what_people_say_or_who_they_are(locked, up, spans, caplog, folder):
    caplog.set_level(logging.DEBUG)
    key = locked.key("default")
    caller = locked.caller(key)
    for text in ("", "[500]", "[reset]", "[empty]", "[garbage]"):
        said = f"{SECRET} {text}"
        caller.post("/v1/chat/completions", json=asks(said, user=PERSON))
        caller.post("/v1/responses", json={"model": "m", "input": said, "user": PERSON})
    answer = caller.post("/v1/chat/completions", json=asks(f"I love {SECRET} bread.", user=PERSON)).json()
    locked.recorded("answer", least=3)
    caller.post("/v1/feedback", json={"response_id": answer["id"], "edited": f"{SECRET} rye."})
    caller.post("/v1/feedback", json={"response_id": SECRET, "thumb": "up"})
    caller.post("/v1/feedback", json={SECRET: SECRET})
    caller.post(f"/v1/personas/{PERSON}/said", json={"text": f"{SECRET} is my bread."})
    caller.post(f"/v1/personas/{PERSON}/reject", json={"trait": SECRET})
    caller.get(f"/v1/personas/{PERSON}")
    caller.delete(f"/v1/personas/{PERSON}")
    told = [str(span.to_json()) for span in spans(11)]
    # What this process says as the caller and as the server behind is not the gateway's.
    ours = ("persona", "httpcore2", "asyncio", "fastapi", "uvicorn")
    logged = [record.getMessage() + str(record.exc_text) for record in caplog.records if record.name.startswith(ours)]
    page = caller.get("/metrics").text
    assert told
    for one in (*told, *logged, page):
        for word in (SECRET, PERSON, "green-gables", key, key.rpartition("-")[2], "upstream-secret"):
            assert word not in one


def test_traces_are_sent_where_the_environment_says(monkeypatch, exporter):
    """With a provider set by the app that the gateway is part of, that one is used."""
    provider = trace.get_tracer_provider()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracing.begin_exporting()
    assert trace.get_tracer_provider() is provider


def test_one_gateway_counts_what_is_its_own(up, known):
    with running(up, known) as one, running(up, known) as other:
        one.chat()
        assert one.metric("requests_total", route="/chat/completions", status="200") == 1
        assert other.metric("requests_total", route="/chat/completions", status="200") == 0
