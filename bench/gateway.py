"""The cost of the gateway: CPU per streamed chunk and per request, and added time to first token.

The same fake engine is reached directly, through Tutti (as a `remote` model) and through LiteLLM's proxy, in
alternating rounds of one run. CPU time is that of the gateway's own processes, so the load generator and the
engine do not count.
"""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from bench.load import chat, requests, streams
from bench.report import Claim, at_least, at_most, publish
from bench.servers import Server, fake_engine, litellm_proxy, peer_environment, tutti

ROUNDS = 5
STREAMS, TOKENS, CONCURRENT = 48, 120, 24
REQUESTS = 300
ENGINE = ("--tokens-per-s", "60")
CATALOG = """
["bench/chat"]
type = "chat"
engine = "remote"
context_length = 32768
options = {{ base_url = "{url}", remote_model = "bench", slots = 512 }}
"""


async def _round(server: Server) -> tuple[float, float, float]:
    """Microseconds of CPU per chunk, microseconds of CPU per request, milliseconds to the first token."""
    words = " ".join(f"w{i}" for i in range(TOKENS))
    streamed = await streams(
        server, chat("bench/chat", words, TOKENS, stream=True), STREAMS, concurrent=CONCURRENT
    )
    whole = await requests(server, chat("bench/chat", "a b c", 3, stream=False), REQUESTS, concurrent=4)
    single = await streams(server, chat("bench/chat", "a b c", 3, stream=True), 40, concurrent=1)
    assert streamed.tokens >= STREAMS * TOKENS * 0.9, f"{server.name} lost chunks: {streamed.tokens}"
    return (
        streamed.cpu_s / streamed.tokens * 1e6,
        whole.cpu_s / REQUESTS * 1e6,
        single.first_token_s * 1e3,
    )


async def main() -> None:
    peer_environment("litellm")  # a minute, the first time
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = await stack.enter_async_context(fake_engine(*ENGINE))
        catalog = folder / "bench.toml"
        catalog.write_text(CATALOG.format(url=engine.url))
        ours = await stack.enter_async_context(
            tutti(folder / "data", "--catalog", str(catalog), "--model", "bench/chat")
        )
        peer = await stack.enter_async_context(litellm_proxy(folder, engine))
        for server in (engine, ours, peer):
            await _round(server)  # warm: imports, connections, caches
        rounds = [[await _round(server) for server in (engine, ours, peer)] for _ in range(ROUNDS)]
    chunk_us = [ours[0] for _, ours, _ in rounds]
    request_us = [ours[1] for _, ours, _ in rounds]
    publish(
        "gateway",
        [
            at_least("CPU per streamed chunk, LiteLLM / Tutti", "x", [p[0] / o[0] for _, o, p in rounds], 10),
            at_least("CPU per request, LiteLLM / Tutti", "x", [p[1] / o[1] for _, o, p in rounds], 10),
            at_most(
                "time to first token added to the engine's, p50", "ms", [o[2] - e[2] for e, o, _ in rounds], 2
            ),
            Claim("the same, LiteLLM", "ms", [p[2] - e[2] for e, _, p in rounds]),
            Claim("CPU per streamed chunk, Tutti", "us", chunk_us),
            Claim(
                "CPU per streamed chunk, Tutti / the fake engine itself",
                "x",
                [o[0] / e[0] for e, o, _ in rounds],
            ),
            Claim("CPU per request, Tutti", "us", request_us),
            Claim(
                "CPU per request, Tutti / the fake engine itself", "x", [o[1] / e[1] for e, o, _ in rounds]
            ),
        ],
        notes=f"LiteLLM 1.106.0; one worker each; {STREAMS} streams, {CONCURRENT} at once, {TOKENS} chunks",
    )
