"""What a request has used: for its answer, for the meter and for the metrics."""

from collections.abc import Sequence
from types import TracebackType

from tutti.base.clock import monotonic_s, now
from tutti.base.errors import InternalError, TuttiError
from tutti.engines.base import ChatCall, CompletionCall, Delta, Usage
from tutti.http import metrics
from tutti.http.context import Caller
from tutti.http.edge import CLIENT_GONE
from tutti.serving.meter import Meter, Served

Call = ChatCall | CompletionCall


class Tally:
    """A context around the serving of one request, which is recorded however it ends."""

    def __init__(
        self, meter: Meter, caller: Caller, operation: str, calls: Sequence[Call], choices_per_prompt: int
    ) -> None:
        self._meter = meter
        self._caller = caller
        self._operation = operation
        self._call = calls[0]
        self._choices_per_prompt = choices_per_prompt
        self._usages: dict[int, Usage] = {}
        self._tokens = 0
        self._has_logprobs = False
        self._has_prompt = False
        self._has_prompt_logprobs = False
        self._began_at = now()
        self._began_s = monotonic_s()
        self._first_token_s: float | None = None

    def add(self, index: int, delta: Delta) -> None:
        if self._first_token_s is None and (
            delta.text or delta.reasoning or delta.tool_calls or delta.tokens
        ):
            self._first_token_s = monotonic_s() - self._began_s
        self._tokens += len(delta.tokens) or bool(delta.text or delta.reasoning)
        if delta.tokens and not self._has_logprobs:
            self._has_logprobs = any(token.logprob is not None for token in delta.tokens)
        if delta.prompt is not None:
            self._has_prompt = True
            self._has_prompt_logprobs = any(token.logprob is not None for token in delta.prompt_tokens)
        if delta.usage is not None:
            self._usages[index] = delta.usage

    @property
    def usage(self) -> Usage:
        """The choices of a prompt share its tokens. Until the engine has counted, there is what was seen."""
        prompts: dict[int, int] = {}
        for index, usage in self._usages.items():
            prompt = index // self._choices_per_prompt
            prompts[prompt] = max(usage.prompt_tokens, prompts.get(prompt, 0))
        usages = self._usages.values()
        return Usage(
            prompt_tokens=sum(prompts.values()),
            completion_tokens=sum(usage.completion_tokens for usage in usages) if usages else self._tokens,
            cached_tokens=max((usage.cached_tokens for usage in usages), default=0),
        )

    def warnings(self) -> list[str]:
        """What was asked for and could not be had from the engine."""
        call, name = self._call, self._call.model.name
        warnings: list[str] = []
        if call.echo and not self._has_prompt:
            warnings.append(f"{name} cannot echo the prompt.")
        elif call.echo and call.logprobs is not None and not self._has_prompt_logprobs:
            warnings.append(f"{name} has no log probabilities of the prompt.")
        if call.logprobs is not None and self._tokens and not self._has_logprobs:
            warnings.append(f"{name} has no log probabilities.")
        return warnings

    def __enter__(self) -> "Tally":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
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
                status=_status(exc),
                prompt_tokens=usage.prompt_tokens,
                completion_tokens=usage.completion_tokens,
                latency_s=latency_s,
                first_token_s=self._first_token_s,
                created_at=self._began_at,
            )
        )


def _status(exc: BaseException | None) -> int:
    if exc is None:
        return 200
    if isinstance(exc, TuttiError):
        return exc.status
    return InternalError.status if isinstance(exc, Exception) else CLIENT_GONE
