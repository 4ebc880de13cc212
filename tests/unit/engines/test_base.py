"""What an engine need not say, and how it reads its options."""

from pathlib import Path

import pytest
from tests.support.engines import model

from tutti.base.errors import ContextTooLong, LoadFailed
from tutti.base.model import ModelFile
from tutti.base.program import Progress
from tutti.base.settings import Settings
from tutti.engines.base import Engine
from tutti.engines.llamacpp import LlamaCpp
from tutti.engines.options import Options
from tutti.engines.place import Place
from tutti.engines.remote import Remote
from tutti.engines.upstream import Refusal


class _Least(Engine):
    name = "least"


def test_what_an_engine_does_not_say_has_a_value_that_fits_most() -> None:
    engine, which = _Least(), model("least", files=(ModelFile("a", size_bytes=7),), context_length=9)
    assert [engine.text, engine.embedding, engine.speech, engine.realtime] == [None] * 4
    assert engine.program(which, Place(Path(), 1, 1)) is None
    assert (engine.slots(which), engine.shares(which), engine.context(which)) == (1, "", 9)
    assert (engine.memory_bytes(which), dict(engine.headers(which)), engine.behind(b"{}")) == (7, {}, b"{}")
    assert engine.progress(b"anything") == Progress(0, None)
    refusal = Refusal(400, b'{"error":{"message":"too long","code":"context_length_exceeded"}}')
    assert isinstance(engine.error(refusal), ContextTooLong)


def test_an_engine_that_does_not_say_so_takes_no_files_and_no_adapters(tmp_path: Path) -> None:
    engine = _Least()
    (tmp_path / "tokenizer.json").touch()
    assert (engine.weights, engine.adapters, engine.options) == (None, None, Options)
    assert engine.vocabulary(model("least"), tmp_path) is None
    assert engine.is_installed(Settings())
    assert not engine.architecture_check(Settings())


def test_the_vocabulary_lies_in_the_weights_and_not_beside_them(tmp_path: Path) -> None:
    engine = LlamaCpp()
    which = model(options={"mmproj": "a.gguf", "lora": ["b.gguf"], "chat_template": "t.jinja"})
    assert engine.vocabulary(which, tmp_path) is None
    for name in ("a.gguf", "b.gguf", "tokenizer.json"):
        (tmp_path / name).touch()
    found = engine.vocabulary(which, tmp_path)
    assert found is not None
    assert (found.path, found.template) == (tmp_path, tmp_path / "t.jinja")
    (tmp_path / "c.gguf").touch()
    assert [path.name for path in engine.gguf_files(which, tmp_path)] == ["c.gguf"]
    found = engine.vocabulary(which, tmp_path)
    assert found is not None
    assert found.path == tmp_path / "c.gguf"


@pytest.mark.parametrize(
    ("engine", "options", "says"),
    [
        (LlamaCpp(), {"slots": "many"}, r"some/model .*`options\.slots`"),
        (LlamaCpp(), {"slotz": 1}, "some/model .*`slotz`"),
        (Remote(), {}, "some/model .*`base_url`"),
    ],
)
def test_an_option_that_is_not_so_is_named(engine: Engine, options: dict[str, str | int], says: str) -> None:
    with pytest.raises(LoadFailed, match=says):
        engine.slots(model(options=options))
