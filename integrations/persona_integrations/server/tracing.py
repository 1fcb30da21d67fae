"""Traces of calls to the model, by OpenTelemetry's conventions for generative AI. No trace holds a text or a person.

Nothing is sent anywhere unless the environment says where (`OTEL_EXPORTER_OTLP_ENDPOINT`), or the application that
the gateway is part of has set OpenTelemetry up.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from persona_integrations.server.personal import Exchange
from persona_sdk.errors import MissingExtraError
from persona_sdk.wire import Answer

__all__ = ["begin_exporting", "model_call", "note_answer", "note_failure"]

_OPERATIONS = {"/embeddings": "embeddings"}


def begin_exporting() -> None:
    """Set OpenTelemetry up as the environment says, if it says where traces go, and nobody has yet.

    Raises:
        MissingExtraError: what sends them is not installed.
    """
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not any(name in os.environ for name in names) or not isinstance(
        trace.get_tracer_provider(), trace.ProxyTracerProvider
    ):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ModuleNotFoundError:
        raise MissingExtraError(
            "to send traces, OpenTelemetry's SDK is needed: pip install 'persona-sdk[telemetry]'", plugin="server"
        ) from None
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "persona-gateway")})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def model_call(
    exchange: Exchange, path: str, upstream: str, came: Mapping[str, str], goes: MutableMapping[str, str]
) -> Iterator[Span]:
    """Trace a call to the model; `came` are the caller's headers, and `goes` those that carry the trace on."""
    operation = _OPERATIONS.get(path, "chat")
    model = exchange.request.model if exchange.request else None
    parts = urlsplit(upstream)
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        "persona.changed": bool(exchange.tailored and exchange.tailored.changed),
    }
    if model:
        attributes["gen_ai.request.model"] = model
    if exchange.tailored is not None:
        attributes["persona.tokens_added"] = exchange.tailored.tokens_added
    tracer = trace.get_tracer("persona_integrations.server")
    name = f"{operation} {model}" if model else operation
    with tracer.start_as_current_span(
        name,
        context=propagate.extract(came),
        kind=SpanKind.CLIENT,
        attributes=attributes,
        record_exception=False,  # its message may quote people
    ) as span:
        propagate.inject(goes)
        yield span


def note_answer(span: Span, answer: Answer) -> None:
    """Add what the model answered with to a trace: its id, its tokens, why it ended."""
    found = {
        "gen_ai.response.id": answer.response_id,
        "gen_ai.response.model": answer.model,
        "gen_ai.usage.input_tokens": answer.input_tokens,
        "gen_ai.usage.output_tokens": answer.output_tokens,
        "gen_ai.response.finish_reasons": [answer.finish] if answer.finish else None,
    }
    span.set_attributes({name: value for name, value in found.items() if value not in (None, "")})


def note_failure(span: Span, kind: str) -> None:
    """Mark a trace as failed; `kind` is an HTTP status, or a word for what happened."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)
