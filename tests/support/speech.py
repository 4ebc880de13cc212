"""Sentences, spoken and compared."""

import io
import re
import unicodedata
import wave
from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.support.engines import Running

from tutti.base.model import Model
from tutti.engines.audio import SpeechCall
from tutti.engines.ours import Ours

RATE_HZ = 24_000

SENTENCES = (
    "The quick brown fox jumps over the lazy dog near the river.",
    "Our meeting starts early on Monday in the main office.",
    "Please remember to bring your passport and a warm coat for the trip.",
    "The scientists discovered a new kind of fish in the deep ocean.",
    "He played the piano for an hour before dinner was ready.",
    "Large language models can answer questions about many different topics.",
    "The train to London leaves from platform four in ten minutes.",
    "I would like a cup of coffee with milk and sugar, please.",
    "The children built a small house out of wood in the garden.",
    "She opened the window because the room was too hot.",
    "Nobody knows what will happen after the election next year.",
    "My brother works as a doctor in a large hospital.",
    "We walked along the beach until the sun went down.",
    "The museum is closed on public holidays and every second Sunday.",
    "Could you tell me how to get to the nearest station?",
    "A good book can change the way you see the world.",
    "The company will open three new stores before the end of the summer.",
    "It rained so hard that the streets were full of water.",
    "They decided to paint the kitchen yellow and the bedroom blue.",
    "Learning a new language takes time, patience and a lot of practice.",
)


async def spoken(speaker: Running, model: Model, text: str, voice: str) -> np.ndarray[Any, Any]:
    """Samples at 24 kHz, s16."""
    call = SpeechCall(model=model, text=text, voice=voice, response_format="raw")
    pieces = [piece async for piece in Ours().speech.speak(speaker.upstream, call)]
    return np.frombuffer(b"".join(pieces), "<i2")


def pause(seconds: float) -> np.ndarray[Any, Any]:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


def wav(samples: Sequence[np.ndarray[Any, Any]]) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(1)
        output.setsampwidth(2)
        output.setframerate(RATE_HZ)
        output.writeframes(np.concatenate(samples).astype("<i2").tobytes())
    return file.getvalue()


def words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.lower()).replace("-", " ")
    return re.sub(r"[^a-z0-9' ]", "", plain).split()


def wrong_words(said: str, heard: str) -> int:
    """Return how many words have to be changed, added or left out."""
    left, right = words(said), words(heard)
    row = list(range(len(right) + 1))
    for i, word in enumerate(left, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(right, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (word != other))
    return row[-1]
