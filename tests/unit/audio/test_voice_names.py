"""Which voice a name means."""

import pytest
from tests.support.engines import model

from tutti.base.model import Model
from tutti.features.audio.voices import voice_of

HIBARI = model(name="test/hibari", type="audio", voices=("heart", "emma", "fable"))
KOKORO = model(name="test/kokoro", type="audio", voices=("af_bella", "af_nova", "am_onyx"))
REMOTE = model(name="test/remote", type="audio")
ALIASES = {"nova": "emma", "narrator": "af_bella(2)+am_onyx(1)", "fable": "heart"}


@pytest.mark.parametrize(
    ("model", "wanted", "aliases", "voice"),
    [
        (HIBARI, None, {}, "heart"),
        (HIBARI, "emma", {}, "emma"),
        (HIBARI, "nobody", {}, "nobody"),
        (HIBARI, "alloy", {}, "heart"),
        (HIBARI, "ash", {}, "emma"),
        (HIBARI, "fable", {}, "fable"),
        (HIBARI, "fable", ALIASES, "heart"),
        (HIBARI, "nova", ALIASES, "emma"),
        (KOKORO, "nova", {}, "af_nova"),
        (KOKORO, "narrator", ALIASES, "af_bella(2)+am_onyx(1)"),
        (REMOTE, "nova", {}, "nova"),
        (REMOTE, "nova", ALIASES, "emma"),
    ],
)
def test_what_a_name_means(model: Model, wanted: str | None, aliases: dict[str, str], voice: str) -> None:
    assert voice_of(model, wanted, aliases) == voice
