"""What a request is charged for, however it ends."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.engines import chat, completion

from tutti.access.caller import Caller
from tutti.base.errors import ContextTooLong
from tutti.dispatch.meter import Meter
from tutti.engines.answers import Delta, FinishReason, Token, Usage
from tutti.features.text.calls import TextCall
from tutti.features.text.tally import TokenTally
from tutti.store.db import Database

CALLER = Caller("key-1", "key", "project-1", "organization-1")
WORD = Delta(text="word")


@dataclass
class Charged:
    """What the rate limits hear of."""

    meter: Meter
    tokens: list[int] = field(default_factory=list[int])

    def tally(self, calls: Sequence[TextCall], choices_per_prompt: int = 1) -> TokenTally:
        return TokenTally(self.meter, CALLER, "completions", calls, choices_per_prompt)


@pytest.fixture
async def charged(tmp_path: Path) -> AsyncIterator[Charged]:
    database = await Database.open(f"sqlite:///{tmp_path}/tutti.db")
    heard: list[int] = []
    yield Charged(Meter(database, lambda _, tokens: heard.append(tokens)), heard)
    await database.close()


def served(tally: TokenTally, *deltas: tuple[int, Delta], ends: BaseException | None = None) -> None:
    with tally:
        for index in {index for index, _ in deltas}:
            tally.begin(index)
        for index, delta in deltas:
            tally.add(index, delta)
        if ends is not None:
            raise ends


def left(tally: TokenTally, *deltas: tuple[int, Delta]) -> None:
    """By its client."""
    with pytest.raises(GeneratorExit):
        served(tally, *deltas, ends=GeneratorExit())


def end(
    prompt_tokens: int,
    completion_tokens: int,
    tokens: tuple[Token, ...] = (),
    finish_reason: FinishReason = "eos",
) -> Delta:
    usage = Usage(prompt_tokens, completion_tokens)
    return Delta(text="x", tokens=tokens, finish_reason=finish_reason, usage=usage)


def test_a_finished_choice_does_not_hide_those_that_are_not(charged: Charged) -> None:
    calls = [completion("four by four bytes")] * 3
    left(charged.tally(calls, 3), (0, end(4, 1)), (1, WORD), (1, WORD), (2, WORD), (2, end(4, 9)))
    assert charged.tokens == [4 + 1 + 2 + 9]


@pytest.mark.parametrize(
    ("call", "tokens"),
    [
        (completion("x" * 39), 10),
        (chat("x" * 400), 102),
        (chat("hi", tools=[{"type": "function", "function": {"name": "f" * 400}}]), 113),
    ],
)
def test_a_prompt_that_was_not_counted_is_estimated(charged: Charged, call: TextCall, tokens: int) -> None:
    left(charged.tally([call]), (0, Delta()))
    left(charged.tally([call]), (0, WORD))
    left(charged.tally([call, call]), (0, end(7, 1)), (1, WORD))
    assert charged.tokens == [tokens, tokens + 1, 7 + 1 + tokens + 1]


def test_media_do_not_count_as_text(charged: Charged) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * 36}, image]}]
    left(charged.tally([chat(messages=messages)]), (0, WORD))
    assert charged.tokens == [11 + 1]


def test_engines_that_count_as_they_go_are_believed(charged: Charged) -> None:
    left(charged.tally([completion("x" * 400)]), (0, Delta(text="a", usage=Usage(7, 3))))
    assert charged.tokens == [10]


def test_what_an_engine_refused_costs_nothing(charged: Charged) -> None:
    refused = ContextTooLong("too long")
    for deltas in ([(0, Delta())], [(0, Delta()), (1, WORD)]):
        with pytest.raises(ContextTooLong):
            served(charged.tally([completion("x" * 400), completion("four")]), *deltas, ends=refused)
    assert charged.tokens == [0, 1 + 1]


A, B = Token("a", 1, -0.5), Token("b", 2, None)


@pytest.mark.parametrize(
    ("deltas", "warning"),
    [
        ([end(1, 2, tokens=(A, A))], None),
        ([end(1, 2, tokens=(B, B))], "no log probabilities."),
        ([end(1, 12, tokens=(A, A))], "no log probabilities of 10 of the 12 tokens."),
        ([end(1, 3, tokens=(A, A), finish_reason="stop")], None),
        ([end(1, 2, tokens=(A, A)), end(1, 4, tokens=(A, B))], "no log probabilities of 3 of the 6 tokens."),
    ],
)
def test_log_probabilities_that_are_missing_are_told(
    charged: Charged, deltas: list[Delta], warning: str | None
) -> None:
    calls = [completion(logprobs=1, stop=("END",))] * len(deltas)
    tally = charged.tally(calls, len(calls))
    served(tally, *enumerate(deltas))
    assert tally.warnings() == ([] if warning is None else [f"some/model has {warning}"])
