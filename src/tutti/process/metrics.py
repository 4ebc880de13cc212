"""Prometheus metrics, over all API workers of a node. They have vLLM's names where they mean the same.

The controller sets PROMETHEUS_MULTIPROC_DIR for the workers, and removes the gauges of a worker that has
ended, lest its requests count as running for ever.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from functools import cache, partial
from typing import TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from tutti.base.clock import monotonic_s

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # Otherwise every count asks the kernel for the process's id first; no process of ours forks.
    values.ValueClass = values.MultiProcessValue(partial(int, os.getpid()))  # pyright: ignore[reportUnknownMemberType]

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIRST_TOKEN_S = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
)
_LATENCY_S = (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 300, 600)
_OVERHEAD_S = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1)

RUNNING = Gauge(
    "vllm:num_requests_running",
    "Requests that an engine works on.",
    ["model_name"],
    multiprocess_mode="livesum",
)
WAITING = Gauge(
    "vllm:num_requests_waiting", "Requests that wait for a slot.", ["model_name"], multiprocess_mode="livesum"
)
PROMPT_TOKENS = Counter("vllm:prompt_tokens", "Tokens read.", ["model_name"])
GENERATION_TOKENS = Counter("vllm:generation_tokens", "Tokens written.", ["model_name"])
FIRST_TOKEN = Histogram(
    "vllm:time_to_first_token_seconds", "Until the first token.", ["model_name"], buckets=_FIRST_TOKEN_S
)
LATENCY = Histogram(
    "vllm:e2e_request_latency_seconds", "Until the last token.", ["model_name"], buckets=_LATENCY_S
)
QUEUE_WAIT = Histogram(
    "tutti_queue_wait_seconds", "Wait for a replica and a slot.", ["model_name"], buckets=_LATENCY_S
)
OVERHEAD = Histogram(
    "tutti_gateway_overhead_seconds",
    "Until a request reached its engine, waiting excluded.",
    buckets=_OVERHEAD_S,
)
IN_FLIGHT = Gauge("tutti_requests_in_flight", "HTTP requests being answered.", multiprocess_mode="livesum")
REQUESTS = Counter("tutti_http_requests", "HTTP requests answered.", ["method", "route", "status"])
STARTS = Counter("tutti_api_worker_starts", "API workers started: more than there are have been restarted.")

_ARRIVED: ContextVar[float] = ContextVar("arrived")


def waiting(model: str) -> Gauge:
    """Return the gauge of requests that wait for a lease: use `with waiting(model).track_inprogress():`."""
    return _for_model(WAITING, model)


def running(model: str) -> Gauge:
    """Return the gauge of requests that hold a lease."""
    return _for_model(RUNNING, model)


def observe_lease(model: str, queued_s: float) -> None:
    _for_model(WAITING, model)  # there is such a number from the first request on, though none had to wait
    _for_model(QUEUE_WAIT, model).observe(queued_s)


def arrive() -> float:
    """Mark the beginning of a request, in its context, and return it in monotonic seconds."""
    arrived = monotonic_s()
    _ARRIVED.set(arrived)
    return arrived


def observe_overhead(queued_s: float) -> None:
    """Record the gateway's own time for a request that is about to go to its engine. `queued_s` is how long
    it had to wait."""
    arrived = _ARRIVED.get(None)
    if arrived is not None:
        OVERHEAD.observe(max(0.0, monotonic_s() - arrived - queued_s))


def observe_served(
    model: str, prompt_tokens: int, completion_tokens: int, latency_s: float, first_token_s: float | None
) -> None:
    _for_model(PROMPT_TOKENS, model).inc(prompt_tokens)
    _for_model(GENERATION_TOKENS, model).inc(completion_tokens)
    _for_model(LATENCY, model).observe(latency_s)
    if first_token_s is not None:
        _for_model(FIRST_TOKEN, model).observe(first_token_s)


def observe_request(method: str, route: str, status: int) -> None:
    _for_request(method, route, status).inc()


def exposition(restarts: Mapping[str, int]) -> bytes:
    """Return all metrics as text. `restarts` are those of engine children, by model, from the database."""
    return _all_workers() + _restarts(restarts)


@cache
def _for_model(metric: _Metric, model: str) -> _Metric:
    """Return the child of the metric for a model: a name of the catalogue, of which there are few."""
    return metric.labels(model)


@cache
def _for_request(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, str(status))


def _all_workers() -> bytes:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)


def _restarts(restarts: Mapping[str, int]) -> bytes:
    registry = CollectorRegistry()
    counter = Counter("tutti_child_restarts", "Restarts of engines.", ["model_name"], registry=registry)
    for model, count in restarts.items():
        counter.labels(model).inc(count)
    return generate_latest(registry)
