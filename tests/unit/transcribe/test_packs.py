"""A recording in packs."""

from collections.abc import Iterator
from threading import Event, Thread

import numpy as np

from tutti.workers.transcribe.packs import Reading
from tutti.workers.transcribe.samples import RATE_HZ, Samples
from tutti.workers.transcribe.vad import SpeechDetector, load_vad


def test_reading_hours_of_silence_ends_soon_after_who_asked_has_left() -> None:
    begun, reading = Event(), Reading(SpeechDetector(load_vad()))

    def silence() -> Iterator[Samples]:
        while True:
            yield np.zeros(RATE_HZ, np.float32)
            begun.set()

    thread = Thread(target=lambda: list(reading.packs(silence())), daemon=True)
    thread.start()
    assert begun.wait(60)
    reading.left = True
    thread.join(60)
    assert not thread.is_alive()
