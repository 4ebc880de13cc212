import re
from pathlib import Path

import pytest

from tutti.base.model import Model
from tutti.catalog.catalog import folder_name, shipped_models
from tutti.catalog.entries import BrokenCatalogue, check_engine, check_model, read_catalogue
from tutti.catalog.sources.hub import parse_hub
from tutti.parts.engines import ENGINES

HASH = "a" * 64


def read(tmp_path: Path, text: str) -> dict[str, Model]:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return read_catalogue(path, shipped_models())


def test_every_shipped_entry_says_what_it_is_and_where_from() -> None:
    models = shipped_models()
    assert len(models) > 50
    for model in models.values():
        check_model(model)
        check_engine(model, ENGINES)
        assert model.files or model.hub or "family" in model.options, model.name
        for field in ("display_name", "organization", "license"):
            assert getattr(model, field), (model.name, field)
        assert model.context_length or model.type in ("audio", "transcribe"), model.name
        assert model.created > 1_600_000_000, model.name
        assert model.files or model.memory_bytes > 100_000_000, model.name


def test_the_embedded_models_need_no_hub() -> None:
    models = [model for model in shipped_models().values() if model.files]
    embedded = [model for model in models if model.files[0].sources[-1].wheels]
    assert {model.type for model in embedded} >= {"chat", "embedding", "rerank", "audio"}
    for file in (file for model in embedded for file in model.files):
        assert file.sha256 and file.size_bytes
        assert [bool(source.wheels) for source in file.sources] in ([False, True], [True])


def test_no_two_models_share_a_folder() -> None:
    names = [
        *shipped_models(),
        "a/b",
        "a--b",
        "a-/b",
        "a/-b",
        "a---b",
        "a:b",
        "a%3Ab",
        ".x",
        "%2Ex",
        "..",
        "a/../b",
    ]
    folders = [folder_name(Model(name, "chat", "echo")) for name in names]
    assert len(set(folders)) == len(names)
    assert all("/" not in folder and not folder.startswith(".") for folder in folders)


def test_a_project_has_folders_of_its_own() -> None:
    mine = folder_name(Model("a/b", "chat", "echo", project_id="proj-1"))
    assert mine != folder_name(Model("a/b", "chat", "echo"))


def test_an_entry_can_be_like_another(tmp_path: Path) -> None:
    models = read(
        tmp_path, '[mine]\nlike = "Qwen/Qwen3-8B"\ncontext_length = 8192\n["mine:2"]\nlike = "mine"'
    )
    assert models["mine"].hub == shipped_models()["Qwen/Qwen3-8B"].hub
    assert models["mine:2"].context_length == 8192


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[x\n", "line 1"),
        ('[x]\ntype = "chat"', "entry 'x': Object missing required field `engine`"),
        ('[x]\ntype = "talk"\nengine = "echo"', r"entry 'x': Invalid enum value 'talk' - at `\$.type`"),
        (
            '[x]\ntype = "chat"\nengine = "echo"\ncolour = 1',
            "entry 'x': Object contains unknown field `colour`",
        ),
        (
            '[x]\ntype = "chat"\nengine = "echo"\ncontext_length = "8k"',
            r"entry 'x': .* at `\$.context_length`",
        ),
        ('[x]\nlike = "nobody"', "entry 'x': like: there is no entry 'nobody'"),
        ('["x y"]\ntype = "chat"\nengine = "echo"', "entry 'x y': name: letters"),
        ('[x]\ntype = "chat"\nengine = "llamacpp"\nhub = "nowhere"', "entry 'x': hub: 'nowhere' is not"),
        ("x = 1", "entry 'x': Expected `object`, got `int`"),
    ],
)
def test_a_broken_file_is_an_error_that_names_file_entry_and_field(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(BrokenCatalogue, match=rf"(?s)catalogue {re.escape(str(tmp_path))}/mine.toml.*{says}"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ('name = "../x.gguf"', "is not a plain relative path"),
        ('name = "/x.gguf"', "is not a plain relative path"),
        ('name = "x.bin"', "'.bin' files are not taken"),
        ('name = "x.gguf"', "sources: none"),
        ('name = "x.gguf"\nsha256 = "ABC"', "sha256: not 64"),
        ('name = "x.gguf"\nsources = [{}]', "exactly one of hub, wheels, url and path"),
        ('name = "x.gguf"\nsources = [{ url = "https://h/x" }]', "needs a sha256"),
        ('name = "x.gguf"\nsources = [{ path = "x.gguf" }]', "not absolute"),
        ('name = "x.gguf"\nsources = [{ hub = "a/b" }]', "is not owner/repo@revision:file"),
        (f'name = "x.gguf"\nsha256 = "{HASH}"\nsources = [{{ url = "file:///x" }}]', "not an http"),
        (
            f'name = "x.gguf"\nsha256 = "{HASH}"\nsources = [{{ wheels = ["a>1"], members = ["b"] }}]',
            "name==version",
        ),
        (f'name = "x.gguf"\nsha256 = "{HASH}"\nsources = [{{ wheels = ["a==1"] }}]', "members"),
        (
            f'name = "x.gguf"\nsha256 = "{HASH}"\nsources = [{{ wheels = ["--pre==1"], members=["a"] }}]',
            "name==",
        ),
    ],
)
def test_a_file_that_cannot_be_pulled_safely_is_refused(tmp_path: Path, file: str, says: str) -> None:
    with pytest.raises(BrokenCatalogue, match=says):
        read(tmp_path, f'[x]\ntype = "chat"\nengine = "llamacpp"\n[[x.files]]\n{file}\n')


@pytest.mark.parametrize(
    ("engine", "options", "says"),
    [
        ("ech", {}, "engine: 'ech' is none of llamacpp, .*echo"),
        ("echo", {"slotz": 1}, "options of echo: .*`slotz`"),
        ("echo", {"tokens_per_s": "fast"}, r"options of echo: .*`\$\.tokens_per_s`"),
        ("remote", {}, "options of remote: .*`base_url`"),
        ("remote", {"base_url": "http://h/v1", "dialect": "bogus"}, r"'bogus' - at `\$\.dialect`"),
        ("ours", {"family": "nobody"}, r"`\$\.family`"),
    ],
)
def test_what_the_engine_does_not_understand_is_told(
    engine: str, options: dict[str, str | int | float | bool | list[str]], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        check_engine(Model("x", "chat", engine, options=options), ENGINES)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BrokenCatalogue, match=r"none\.toml cannot be read: No such file"):
        read_catalogue(tmp_path / "none.toml", {})


@pytest.mark.parametrize(
    "name", ["x", "a/b/c", "../a", "a/..", "a/b@", "a/b:", "http://a/b", "a/b@../x", "-a/b", ""]
)
def test_what_is_no_repository_is_refused(name: str) -> None:
    assert parse_hub(name) is None
