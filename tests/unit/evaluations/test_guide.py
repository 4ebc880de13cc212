"""The guide shows the prompts that judges get."""

from pathlib import Path

import pytest

from tutti.features.evaluations.judging import Classify, Compare, Question, Score, messages

GUIDE = (Path(__file__).parents[3] / "docs/guides/evaluations.md").read_text()
WORDS = " ".join(GUIDE.replace("\n> ", " ").split())


@pytest.mark.parametrize("question", [Classify(("good", "bad")), Score(0, 10), Compare()])
def test_the_instructions_are_published(question: Question) -> None:
    assert question.instruction() in WORDS
    system, _ = messages(question, "", {}, [])
    form = system["content"].removeprefix(question.instruction()).strip()
    assert form.replace(f"`{question.key}`", "`label`") in WORDS


def test_the_data_is_shown_as_it_is() -> None:
    row = {"question": "What is the capital of France?"}
    _, user = messages(Compare(), "", row, ["Paris.", "I do not know."])
    assert user["content"] in GUIDE
