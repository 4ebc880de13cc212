"""The echo engine: no model, deterministic answers, for tests, benchmarks and trying Tutti out.

Its program, `workers/echo`, says the last user message's words back, one token a word. It honours max_tokens,
stop, logprobs, echo, response_format (the least value of the schema, its strings filled with the message; for
a regex, a word of the message that matches), tools (`call:NAME {json}` in the message calls NAME; forced
tools get the least arguments of their schema), seed (with a temperature above 0, four words are added that
depend on it), `think: thought; answer` (gives `<think>thought</think>answer`) and images (`[2 images]` is
added, 64 prompt tokens each). Embeddings are unit vectors, near each other where texts share words; the
relevance of a document is the share of the query's words in it. Speech is a tone in wav, raw
(pcm_s16le, pcm_f32le) or silent mp3, and each word of the text takes the time of a token; the voice `nobody`
is refused. A transcript says how many bytes it is of, a realtime one for how many milliseconds somebody
spoke, where every sample but 0 is speech. An image is one colour.

In the last user message, the text to speak or the prompt of a transcription, and taken out of what is said
back:

- `[[tokens 500]]`  500 words whatever the message;
- `[[sleep 2]]`     2 seconds before the first token, without blocking;
- `[[say this]]`    these words, whatever else is asked for, a response_format too;
- `[[error 500]]`   this HTTP status instead of an answer;
- `[[crash 3]]`     the process ends with status 1 after 3 tokens of this answer were sent (default 1);
- `[[hang 3]]`      the process stops answering anything, `/progress` too, after 3 tokens (default 1).

And left in it, `[[this]]`: where a schema has an enum, the answer is that of its values which was named last
before this mark; where it has a number, the number just before it.

`Model.options`: tokens_per_s (of each request), first_token_delay_s, start_delay_s (before the port opens),
slots (requests at once, 1024), crash_after_tokens and hang_after_tokens (of every answer), memory_bytes
(taken for real), dimensions (of embeddings, 384), guard (true: answers `safe`, or `unsafe` and `S1` on the
next line where the message has UNSAFE), shares (the compute that it is said to share, such as cpu, so that
jobs' requests make way for clients'). `Model.context_length` (8192) bounds prompt and answer together.
"""

import sys
from collections.abc import Mapping

import msgspec

from tutti.base.errors import TuttiError
from tutti.base.model import Model
from tutti.base.program import Program
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer, RealtimeSessions
from tutti.engines.openai_errors import error_of
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import Options
from tutti.engines.place import Place, Progress
from tutti.engines.upstream import Refusal

_MEGABYTE = 1_000_000
_CONTEXT = 8192


class _Options(Options, frozen=True):
    tokens_per_s: float = 0
    first_token_delay_s: float = 0
    start_delay_s: float = 0
    slots: int = 0
    crash_after_tokens: int = 0
    hang_after_tokens: int = 0
    memory_bytes: int = 0
    dimensions: int = 0
    guard: bool = False
    shares: str = ""


_NUMBERS = [
    it for it in _Options.__struct_fields__ if it not in (*Options.__struct_fields__, "guard", "shares")
]


class _ProgressBody(msgspec.Struct):
    busy: int
    done: int


class Echo:
    name = "echo"
    options = _Options
    progress_path = "/progress"
    text = embedding = rerank = Dialect(lambda model: Server(model.name, sampling=VLLM_SAMPLING, vllm=True))
    speech = transcription = AudioDialect(lambda model: AudioServer(model.name))
    realtime = RealtimeSessions()

    def program(self, model: Model, place: Place) -> Program:
        argv = [sys.executable, "-m", "tutti.workers.echo", "--port", str(place.port), "--model", model.name]
        for option in _NUMBERS:
            if option in model.options:
                argv += ["--" + option.replace("_", "-"), str(model.options[option])]
        argv += ["--context-length", str(self.context(model))]
        if model.options.get("guard"):
            argv.append("--guard")
        return Program(name=model.name, argv=tuple(argv), port=place.port, health_path="/health")

    def address(self, model: Model, place: Place) -> str:  # noqa: ARG002 - the protocol's arguments
        return f"http://127.0.0.1:{place.port}"

    def headers(self, model: Model) -> Mapping[str, str]:  # noqa: ARG002
        return {}

    def slots(self, model: Model) -> int:
        return int(str(model.options.get("slots", 1024)))

    def shares(self, model: Model) -> str:
        return str(model.options.get("shares", ""))

    def behind(self, body: bytes) -> bytes:
        return body

    def context(self, model: Model) -> int:
        return model.context_length or _CONTEXT

    def memory_bytes(self, model: Model) -> int:
        return model.memory_bytes or 40 * _MEGABYTE + int(str(model.options.get("memory_bytes", 0)))

    def progress(self, body: bytes) -> Progress:
        found = msgspec.json.decode(body, type=_ProgressBody)
        return Progress(found.busy, found.done)

    def error(self, refusal: Refusal) -> TuttiError:
        return error_of(refusal)
