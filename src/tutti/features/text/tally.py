"""Counts the tokens of one request: for the answer's `usage`, for the meter and for the metrics.

What goes in are the deltas of each choice as the engine writes them, before anything is taken out of them.
What comes out is the usage of the whole request:

- completion tokens are the engine's own count where it gives one, otherwise the tokens that came in deltas; a
  delta without a list of tokens counts as one token;
- prompt tokens are the engine's own count, otherwise an estimate by the length of the prompt. The choices of
  one prompt share it, so it counts once;
- a request that fails is charged only for choices that the engine began to answer.

It runs for every token, so keep it lean.
"""

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import msgspec

from tutti.access.caller import Caller
from tutti.base.clock import monotonic_s, now
from tutti.dispatch.meter import Meter, Served
from tutti.engines.answers import Delta, Usage
from tutti.engines.calls import CompletionCall, Json
from tutti.features.metered import status_of
from tutti.features.text.calls import TextCall

_BYTES_A_TOKEN = 4
"""The usual ratio of English; other languages in their own scripts are not far from it."""


class TokenTally:
    """Counts within a `with` block around the serving of one request, and records it however it ends."""

    def __init__(
        self, meter: Meter, caller: Caller, operation: str, calls: Sequence[TextCall], choices_per_prompt: int
    ) -> None:
        self._meter = meter
        self._caller = caller
        self._operation = operation
        self._call = calls[0]
        self._prompts = calls[::choices_per_prompt]
        self._choices_per_prompt = choices_per_prompt
        self._counted: dict[int, int] = {}
        self._usages: dict[int, Usage] = {}
        self._logprob_counts: Counter[int] = Counter()
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
        """Note that an engine is about to read the prompt of the choice number `index`."""
        self._counted[index] = 0

    def add(self, index: int, delta: Delta) -> None:
        """Count a delta of the choice number `index`."""
        count = len(delta.tokens) or bool(delta.text or delta.reasoning or delta.tool_calls)
        if count and self._first_token_s is None:
            self._first_token_s = monotonic_s() - self._began_s
        self._counted[index] += count
        if delta.tokens and self._call.logprobs is not None:
            self._logprob_counts[index] += sum(token.logprob is not None for token in delta.tokens)
        if delta.prompt is not None:
            self._has_prompt = True
            self._has_prompt_logprobs = any(token.logprob is not None for token in delta.prompt_tokens)
        if delta.usage is not None:
            self._usages[index] = delta.usage
        if delta.finish_reason == "stop" and self._call.stop:
            self._stopped.add(index)

    @property
    def usage(self) -> Usage:
        """The usage so far, by the rules at the top of this file."""
        prompts: Counter[int] = Counter()
        for index in self._counted:
            prompt = index // self._choices_per_prompt
            prompts[prompt] = max(prompts[prompt], self._usages.get(index, Usage()).prompt_tokens)
        return Usage(
            prompt_tokens=sum(
                count or _estimated_tokens(self._prompts[prompt]) for prompt, count in prompts.items()
            ),
            completion_tokens=sum(
                self._usages[index].completion_tokens if index in self._usages else counted
                for index, counted in self._counted.items()
            ),
            cached_tokens=max((usage.cached_tokens for usage in self._usages.values()), default=0),
        )

    def warnings(self) -> list[str]:
        """Return a sentence for everything that was requested and that the engine did not give."""
        call, name = self._call, self._call.model.name
        warnings: list[str] = []
        if call.echo and not self._has_prompt:
            warnings.append(f"{name} cannot echo the prompt.")
        elif call.echo and call.logprobs is not None and not self._has_prompt_logprobs:
            warnings.append(f"{name} has no log probabilities of the prompt.")
        if call.logprobs is not None and any(self._counted.values()):
            warnings += self._logprobs_warnings(name)
        return warnings

    def _logprobs_warnings(self, name: str) -> list[str]:
        """Return the warning about tokens without a log probability, if there are any.

        A choice that a stop sequence ended is left out: the engine counts the tokens of the sequence, but
        rightly does not send them.
        """
        if not self._logprob_counts.total():
            return [f"{name} has no log probabilities."]
        counts = {
            index: usage.completion_tokens
            for index, usage in self._usages.items()
            if index not in self._stopped
        }
        missing = sum(max(0, count - self._logprob_counts[index]) for index, count in counts.items())
        if not missing:
            return []
        return [f"{name} has no log probabilities of {missing} of the {sum(counts.values())} tokens."]

    def __enter__(self) -> "TokenTally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(exc, Exception):  # what the engine did not begin to answer is not charged
            self._counted = {
                index: counted for index, counted in self._counted.items() if counted or index in self._usages
            }
        usage = self.usage
        self._meter.record(
            Served(
                project_id=self._caller.project_id,
                key_id=self._caller.key_id,
                model=self._call.model.name,
                operation=self._operation,
                status=status_of(exc),
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                latency_s=monotonic_s() - self._began_s,
                first_token_s=self._first_token_s,
                created_at=self._began_at,
            )
        )


def _estimated_tokens(call: TextCall) -> int:
    """Estimate the tokens of a prompt by the length of its texts and tools. Media count nothing."""
    if isinstance(call, CompletionCall):
        if not isinstance(call.prompt, str):
            return len(call.prompt)
        size = len(call.prompt.encode())
    else:
        size = len(msgspec.json.encode([*call.tools, *map(_countable_parts, call.messages)]))
    return -(-size // _BYTES_A_TOKEN)


def _countable_parts(message: Json) -> list[Any]:
    """Return the text of a message and its tool calls."""
    content: str | Sequence[Json] = message["content"]
    if not isinstance(content, str):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return [content, *message.get("tool_calls", ())]
