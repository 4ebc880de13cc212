"""What is written with signs is said: real voices, and Whisper that writes down what it hears."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.engines import running
from tests.support.speech import pause, spoken, wav
from tests.support.weights import KOKORO, WHISPER, pulled

from tutti.catalog.catalog import shipped_models
from tutti.engines.audio import TranscriptionCall
from tutti.engines.ours import Ours
from tutti.engines.place import Place

ENGINE = Ours()
MODELS = shipped_models()
HEARD = {
    "The ticket costs 25€ and the book costs $7.50 today.": r"25 ?euros?|€ ?25|25 ?€",
    "The room is 20 m² and it is -5 °C outside.": r"20 square met(er|re)s.*(minus|-) ?(five|5) ?(degrees|°)",
    "Please write to anna@example.com before Friday.": r"anna ?(at|@) ?example ?(\.|dot) ?com",
    "Read www.example.org/help for more, e.g. on Monday.": r"(slash|/) ?help.*for example",
    "We need 50% more, i.e. 2 + 2 = 4 & more.": r"50( percent|%).*that is.*(equals|is|=) (4|four)",
    "The tem\u00adper\u00ada\u200bture was high at the café in Москва.": r"temperature.*caf[eé].*mos[ckq]",
}
CLEAR = 2
"""The first of them, which Kokoro's Japanese voices say clearly enough, too."""


async def recorded(name: str, voice: str, texts: Sequence[str]) -> bytes:
    model, folder = MODELS[name], await asyncio.to_thread(pulled, name)
    async with running(ENGINE, model, place=Place(folder, 0, 2), within_s=600) as speaker:
        return wav([it for text in texts for it in (await spoken(speaker, model, text, voice), pause(1))])


@pytest.mark.timeout(900)
async def test_signs_are_heard_as_words(tmp_path: Path) -> None:
    recordings = {
        await recorded("maureesewilliams/hibari", "heart", [*HEARD]): [*HEARD],
        await recorded(KOKORO, "jf_alpha", [*HEARD][:CLEAR]): [*HEARD][:CLEAR],
    }
    folder, path = await asyncio.to_thread(pulled, WHISPER), tmp_path / "said.wav"
    async with running(ENGINE, MODELS[WHISPER], place=Place(folder, 0, 2), within_s=600) as whisper:
        for recording, texts in recordings.items():
            path.write_bytes(recording)
            call = TranscriptionCall(model=MODELS[WHISPER], audio=path, filename="said.wav", language="en")
            found = (await ENGINE.transcription.transcribe(whisper.upstream, call)).text
            missing = [text for text in texts if not re.search(HEARD[text], found, re.IGNORECASE)]
            assert not missing, found
