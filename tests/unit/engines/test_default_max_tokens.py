import pytest
from tests.support.engines import Canned, chat, collect, completion, model
from tests.support.weights import QWEN, SMOLLM2

from tutti.catalog.catalog import shipped_models
from tutti.engines.llamacpp import LlamaCpp

ENGINE = LlamaCpp()
PROMPT = b'{"prompt": "x"}'
ANSWER = b'data: {"content": "x", "stop_type": "limit"}\n\n'


@pytest.mark.parametrize(
    ("options", "max_tokens", "sent"),
    [({}, None, None), ({"default_max_tokens": 50}, None, 50), ({"default_max_tokens": 50}, 70, 70)],
)
async def test_a_model_may_limit_answers_whose_request_does_not(
    options: dict[str, int], max_tokens: int | None, sent: int | None
) -> None:
    limited = model("llamacpp", options=options)
    upstream = Canned([PROMPT], streamed=[ANSWER])
    await collect(ENGINE.text.complete(upstream, completion(model=limited, max_tokens=max_tokens)))
    await collect(ENGINE.text.chat(upstream, chat(model=limited, max_tokens=max_tokens)))
    asked = [body.get("n_predict") for path, body in upstream.asked if path == "/completion"]
    assert asked == [sent, sent]


def test_small_models_answer_within_the_patience_of_clients() -> None:
    for name in (SMOLLM2, QWEN, "Qwen/Qwen2.5-Coder-1.5B-Instruct"):
        assert shipped_models()[name].options == {"default_max_tokens": 1024}
