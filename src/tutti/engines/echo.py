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

`Model.context_length` (default 8192) bounds prompt and answer together.
"""

import msgspec

from tutti.base.model import Model
from tutti.base.program import Program, Progress
from tutti.engines.base import Engine
from tutti.engines.openai import Dialect
from tutti.engines.openai_audio import AudioDialect, AudioServer, RealtimeSessions
from tutti.engines.openai_requests import VLLM_SAMPLING, Server
from tutti.engines.options import Options
from tutti.engines.place import Place
from tutti.process.child import worker_argv

_MEGABYTE = 1_000_000
_CONTEXT = 8192


class _Options(Options, frozen=True):
    """Options of the echo engine. Most are left to the program, see workers/echo/options.py."""

    tokens_per_s: float | None = None
    """Speed of each request; 0, the program's default: as fast as it goes."""
    first_token_delay_s: float | None = None
    """Seconds before the first token of an answer."""
    start_delay_s: float | None = None
    """Seconds before the port opens."""
    slots: int = 1024
    """Requests at once; more wait."""
    crash_after_tokens: int | None = None
    """End with status 1 after so many tokens of any answer."""
    hang_after_tokens: int | None = None
    """Stop answering anything after so many tokens of any answer."""
    memory_bytes: int = 0
    """Bytes of memory that are taken for real."""
    dimensions: int | None = None
    """Numbers in an embedding; the program's default is 384."""
    guard: bool = False
    """Answer `safe`, or `unsafe` and `S1` on the next line where the message has UNSAFE."""
    shares: str = ""
    """The compute that it pretends to share, such as `cpu`, so that jobs' requests make way for clients'."""


_NOT_PASSED_ON = frozenset({*Options.__struct_fields__, "guard", "shares"})


class _ProgressBody(msgspec.Struct):
    busy: int
    done: int


class Echo(Engine):
    name = "echo"
    options = _Options
    progress_path = "/progress"
    text = embedding = rerank = Dialect(lambda model: Server(model.name, sampling=VLLM_SAMPLING, vllm=True))
    speech = transcription = AudioDialect(lambda model: AudioServer(model.name))
    realtime = RealtimeSessions()

    def program(self, model: Model, place: Place) -> Program:
        argv = [*worker_argv("echo"), "--port", str(place.port), "--model", model.name]
        argv += [*_arguments(_Options.of(model)), "--context-length", str(self.context(model))]
        if _Options.of(model).guard:
            argv.append("--guard")
        return Program(name=model.name, argv=tuple(argv), port=place.port, health_path="/health")

    def slots(self, model: Model) -> int:
        return _Options.of(model).slots

    def shares(self, model: Model) -> str:
        return _Options.of(model).shares

    def context(self, model: Model) -> int:
        return model.context_length or _CONTEXT

    def memory_bytes(self, model: Model) -> int:
        return model.memory_bytes or 40 * _MEGABYTE + _Options.of(model).memory_bytes

    def progress(self, body: bytes) -> Progress:
        found = msgspec.json.decode(body, type=_ProgressBody)
        return Progress(found.busy, found.done)


def _arguments(options: _Options) -> list[str]:
    """Return the command line's share of the options: those that differ from their defaults."""
    given = msgspec.structs.asdict(options)
    defaults = msgspec.structs.asdict(_Options())
    changed = [name for name in given if name not in _NOT_PASSED_ON and given[name] != defaults[name]]
    return [word for name in changed for word in ("--" + name.replace("_", "-"), str(given[name]))]
