"""What the gateway counts, for Prometheus. No label tells of a person, a tenant or a text."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

__all__ = ["Metrics"]

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_ANSWER_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """The counters of one gateway; several workers are added up where `PROMETHEUS_MULTIPROC_DIR` is set."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "persona_gateway_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.in_flight = Gauge(
            "persona_gateway_in_flight",
            "Requests being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.personal = Counter(
            "persona_gateway_personal",
            "Requests by what became of personalising them: tailored, silent (nothing to say), nobody (no person "
            "named), late, failed.",
            ["outcome"],
            registry=registry,
        )
        self.added = Histogram(
            "persona_gateway_added_seconds", "Time spent on personalising.", registry=registry, buckets=_SECONDS
        )
        self.upstream = Histogram(
            "persona_gateway_upstream_seconds",
            "Time until the server behind had answered.",
            registry=registry,
            buckets=_ANSWER_SECONDS,
        )
        self.broken = Counter(
            "persona_gateway_broken",
            "Answers that did not come to their end: upstream (it failed or was not reached), client (it left).",
            ["side"],
            registry=registry,
        )
        self.recorded = Counter(
            "persona_gateway_records", "Records written beside requests.", ["what", "outcome"], registry=registry
        )
        self.signals = Counter("persona_gateway_signals", "Signals recorded.", ["kind"], registry=registry)
        self.queued = Gauge(
            "persona_gateway_queued",
            "Records waiting to be written.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.learnt = Counter("persona_gateway_learnt", "People learnt from.", registry=registry)

    def page(self) -> bytes:
        """Return the page that Prometheus reads."""
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            every = CollectorRegistry()
            multiprocess.MultiProcessCollector(every)  # type: ignore[no-untyped-call]
            return generate_latest(every)
        return generate_latest(self._registry)
