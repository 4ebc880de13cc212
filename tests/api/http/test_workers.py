"""Two API workers of one server, and a stream that has to wait for its model."""

import time
from collections.abc import Iterator

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.patience import limit
from tests.support.server import ECHO, Server, running_server

from tutti.base.model import Model

SLOW = Model(name="slow", type="chat", engine="echo", options={"start_delay_s": 0.7})
SLOWER = Model(name="slower", type="chat", engine="echo", options={"start_delay_s": 45})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server([ECHO], catalog=[SLOW, SLOWER], workers=2, early_headers_s=0.2) as server:
        wait_for_both(server)
        yield server


def wait_for_both(server: Server) -> None:
    """One worker is enough for a server to be ready."""
    give_up_at = time.monotonic() + limit(60)
    while len([pid for pid in server.workers() if _listens(pid)]) < 2:
        assert time.monotonic() < give_up_at, server.output
        time.sleep(0.05)


def _listens(pid: int) -> bool:
    try:
        connections = psutil.Process(pid).net_connections("inet")
    except psutil.NoSuchProcess:
        return False
    return any(it.status == psutil.CONN_LISTEN for it in connections)


def metrics(server: Server) -> dict[str, dict[str, float]]:
    """Sample name -> labels, as text -> value."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(server.client.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def chat(model: str, **fields: object) -> dict:
    return {"model": model, "messages": [{"role": "user", "content": "one two three"}], **fields}


def test_both_workers_answer_and_the_metrics_are_those_of_both(server):
    before = metrics(server)
    for _ in range(20):  # a connection each: the kernel deals them out
        response = httpx.post(
            f"{server.url}/v1/chat/completions",
            json=chat("echo"),
            headers={"authorization": "Bearer any"},
            timeout=limit(60),
        )
        assert response.status_code == 200
    after = metrics(server)

    def rise(name: str, labels: str = "model_name=echo") -> float:
        return after[name][labels] - before.get(name, {}).get(labels, 0)

    assert rise("vllm:e2e_request_latency_seconds_count") == 20
    assert rise("vllm:time_to_first_token_seconds_count") == 20
    assert rise("tutti_queue_wait_seconds_count") == 20
    assert rise("tutti_gateway_overhead_seconds_count", "") == 20
    usage = response.json()["usage"]
    assert rise("vllm:prompt_tokens_total") == 20 * usage["prompt_tokens"]
    assert rise("vllm:generation_tokens_total") == 20 * usage["completion_tokens"]
    assert after["vllm:num_requests_running"]["model_name=echo"] == 0
    assert after["vllm:num_requests_waiting"]["model_name=echo"] == 0
    assert after["tutti_requests_in_flight"][""] >= 1
    assert after["tutti_child_restarts_total"]["model_name=echo"] == 0
    files = list((server.data_dir / "metrics").glob("histogram_*.db"))
    assert len([it for it in files if b"e2e_request_latency_seconds_sum" in it.read_bytes()]) == 2


def test_a_stream_whose_model_is_loading_is_kept_alive(server):
    began = time.monotonic()
    with server.client.stream("POST", "/v1/chat/completions", json=chat("slower", stream=True)) as response:
        assert response.status_code == 200
        assert next(response.iter_lines()).startswith(":")
        assert time.monotonic() - began < 40  # while it loads
    with server.client.stream("POST", "/v1/chat/completions", json=chat("slow", stream=True)) as response:
        assert response.status_code == 200
        body = b"".join(response.iter_raw()).decode()
    assert body.startswith(": ")
    assert body.endswith("data: [DONE]\n\n")


def test_the_documents_need_no_key(server):
    for path in ("/openapi.json", "/asyncapi.json"):
        response = httpx.get(server.url + path, timeout=limit(60))
        assert response.status_code == 200
        assert response.json()["info"]["version"]
