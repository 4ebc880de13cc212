"""What a request has used: for its answer, for the meter and for the metrics."""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import msgspec

from tutti.access.caller import Caller
from tutti.base.clock import monotonic_s, now
from tutti.dispatch.meter import Meter, Served
from tutti.engines.answers import Delta, Usage
from tutti.engines.calls import ChatCall, CompletionCall, Json
from tutti.features.metered import status_of
from tutti.process import metrics

Call = ChatCall | CompletionCall

_BYTES_A_TOKEN = 4
"""About what English has, and other languages in their own scripts not far from it."""


class Tally:
    """A context around the serving of one request, which is recorded however it ends."""

    def __init__(
        self, meter: Meter, caller: Caller, operation: str, calls: Sequence[Call], choices_per_prompt: int
    ) -> None:
        self._meter = meter
        self._caller = caller
        self._operation = operation
        self._call = calls[0]
        self._prompts = calls[::choices_per_prompt]
        self._choices_per_prompt = choices_per_prompt
        self._seen: dict[int, int] = {}
        self._usages: dict[int, Usage] = {}
        self._with_logprob: Counter[int] = Counter()
        self._stopped: set[int] = set()
        self._has_prompt = False
        self._has_prompt_logprobs = False
        self._began_at = now()
        self._began_s = monotonic_s()
        self._first_token_s: float | None = None

    @property
    def project_id(self) -> str:
        return self._caller.project_id

    def begin(self, index: int) -> None:
        """An engine is about to read the prompt of this choice."""
        self._seen[index] = 0

    def add(self, index: int, delta: Delta) -> None:
        seen = len(delta.tokens) or bool(delta.text or delta.reasoning or delta.tool_calls)
        if seen and self._first_token_s is None:
            self._first_token_s = monotonic_s() - self._began_s
        self._seen[index] += seen
        if delta.tokens and self._call.logprobs is not None:
            self._with_logprob[index] += sum(token.logprob is not None for token in delta.tokens)
        if delta.prompt is not None:
            self._has_prompt = True
            self._has_prompt_logprobs = any(token.logprob is not None for token in delta.prompt_tokens)
        if delta.usage is not None:
            self._usages[index] = delta.usage
        if delta.finish_reason == "stop" and self._call.stop:
            self._stopped.add(index)

    @property
    def usage(self) -> Usage:
        """The choices of a prompt share its tokens. Of what the engine has not counted, the tokens are those
        that were seen, and the prompt's are estimated."""
        prompts: Counter[int] = Counter()
        for index in self._seen:
            prompt = index // self._choices_per_prompt
            prompts[prompt] = max(prompts[prompt], self._usages.get(index, Usage()).prompt_tokens)
        return Usage(
            prompt_tokens=sum(
                count or _estimated_tokens(self._prompts[prompt]) for prompt, count in prompts.items()
            ),
            completion_tokens=sum(
                self._usages[index].completion_tokens if index in self._usages else seen
                for index, seen in self._seen.items()
            ),
            cached_tokens=max((usage.cached_tokens for usage in self._usages.values()), default=0),
        )

    def warnings(self) -> list[str]:
        """What was asked for and could not be had from the engine."""
        call, name = self._call, self._call.model.name
        warnings: list[str] = []
        if call.echo and not self._has_prompt:
            warnings.append(f"{name} cannot echo the prompt.")
        elif call.echo and call.logprobs is not None and not self._has_prompt_logprobs:
            warnings.append(f"{name} has no log probabilities of the prompt.")
        if call.logprobs is not None and any(self._seen.values()):
            warnings += self._logprobs_warnings(name)
        return warnings

    def _logprobs_warnings(self, name: str) -> list[str]:
        """The tokens of a stop sequence are counted but not told, as they should be."""
        if not self._with_logprob.total():
            return [f"{name} has no log probabilities."]
        counts = {
            index: usage.completion_tokens
            for index, usage in self._usages.items()
            if index not in self._stopped
        }
        missing = sum(max(0, count - self._with_logprob[index]) for index, count in counts.items())
        if not missing:
            return []
        return [f"{name} has no log probabilities of {missing} of the {sum(counts.values())} tokens."]

    def __enter__(self) -> "Tally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception):  # what the engine did not begin to answer is not charged
            self._seen = {index: seen for index, seen in self._seen.items() if seen or index in self._usages}
        usage, latency_s, model = self.usage, monotonic_s() - self._began_s, self._call.model.name
        metrics.observe_served(
            model, usage.prompt_tokens, usage.completion_tokens, latency_s, self._first_token_s
        )
        self._meter.record(
            Served(
                project_id=self._caller.project_id,
                key_id=self._caller.key_id,
                model=model,
                operation=self._operation,
                status=status_of(exc),
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                latency_s=latency_s,
                first_token_s=self._first_token_s,
                created_at=self._began_at,
            )
        )


def _estimated_tokens(call: Call) -> int:
    """Of a prompt, by the length of its texts and tools. Media count nothing."""
    if isinstance(call, CompletionCall):
        if not isinstance(call.prompt, str):
            return len(call.prompt)
        size = len(call.prompt.encode())
    else:
        size = len(msgspec.json.encode([*call.tools, *map(_texts, call.messages)]))
    return -(-size // _BYTES_A_TOKEN)


def _texts(message: Json) -> list[Any]:
    content: str | Sequence[Json] = message["content"]
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return [content, *message.get("tool_calls", ())]
