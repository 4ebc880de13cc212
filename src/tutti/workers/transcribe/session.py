"""A live session: takes audio in pieces, sends drafts during a turn, and the transcript at its end.

With turn detection each turn is completed by itself. Without it turns are detected too, but only to
transcribe the audio piece by piece in bounded memory; their texts are kept until the client commits.
"""

import asyncio
import logging
from dataclasses import replace

from tutti.workers.transcribe.drafts import Drafts
from tutti.workers.transcribe.inbox import Inbox
from tutti.workers.transcribe.inlet import Inlet
from tutti.workers.transcribe.messages import (
    Append,
    Clear,
    Commit,
    Completed,
    Delta,
    Event,
    Failed,
    Message,
    Opening,
    Processed,
    TurnDetection,
    Update,
)
from tutti.workers.transcribe.packs import MAX_PACK_S
from tutti.workers.transcribe.recording import Transcriber
from tutti.workers.transcribe.samples import RATE_HZ, Samples, Tape, seconds
from tutti.workers.transcribe.turns import Limits, Turn, Turns
from tutti.workers.transcribe.vad import SpeechDetector
from tutti.workers.transcribe.whisper import Options

_WAITING_S = 30  # the audio that the inbox holds
_SAMPLE_BYTES = 2
_LONGEST_S = MAX_PACK_S - 2
_MANUAL = Limits(0.1, min_silence_duration_ms=3000, max_speech_duration_s=_LONGEST_S, speech_pad_ms=400)

log = logging.getLogger(__name__)


class Session:
    """A live session. Messages go into `inbox`; events come out of `events`, and None at the end."""

    def __init__(self, transcriber: Transcriber, opening: Opening) -> None:
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.inbox = Inbox(_WAITING_S * _SAMPLE_BYTES * opening.sample_rate_hz)
        self._inlet = Inlet(opening.sample_rate_hz)
        self._whisper = transcriber.whisper
        self._work = transcriber.whisper.work
        self._detector = SpeechDetector(transcriber.vad)
        self._tape = Tape()
        self._turns = Turns(_limits(opening.turn_detection))
        self._manual = opening.turn_detection is None
        self._kept: list[str] = []  # texts of turns that wait for a commit
        self._kept_from = 0
        self._last_draft = ""
        language = transcriber.whisper.language(opening.language)
        self._drafts = Drafts(
            transcriber.whisper, Options(language=language, prompt=opening.prompt), self._send_draft
        )

    async def run(self) -> None:
        """Handle the messages until the task is cancelled."""
        try:
            while True:
                message = await self.inbox.get()
                with self._work.one():
                    await self._handle(message)
                self._work.done += 1
                self.inbox.handled(message)
        finally:
            self.inbox.end()
            self._drafts.drop()
            self.events.put_nowait(None)

    async def _handle(self, message: Message) -> None:
        match message:
            case Append():
                await self._hear(self._inlet.read(message.audio))
            case Commit():
                await self._commit()
            case Clear():
                self._clear()
            case Update():
                await self._update(message)

    async def _hear(self, samples: Samples) -> None:
        for start in range(0, len(samples), RATE_HZ):
            block = samples[start : start + RATE_HZ]
            self._tape.append(block)
            for probability in await asyncio.to_thread(self._detector.hear, block):
                if turn := self._turns.feed(float(probability)):
                    await self._end(turn)
            self._drafts.listen(self._turns, self._tape)
            self._tape.forget(self._turns.needed)

    async def _end(self, turn: Turn) -> None:
        try:
            transcript = await self._drafts.final(turn, self._tape.between(turn.start, turn.end))
        except RuntimeError:
            log.exception("a turn was lost")
            self.events.put_nowait(Failed("The model failed on this part of the audio."))
            return
        if self._manual:
            self._kept.append("".join(segment.text for segment in transcript.segments))
            self._send_draft("")
        else:
            self._complete(transcript.text, turn.start, turn.end)

    def _send_draft(self, text: str) -> None:
        text = ("".join(self._kept) + " " + text).strip() if self._kept else text
        if text and text != self._last_draft:
            self._last_draft = text
            self.events.put_nowait(Delta(text))

    def _complete(self, text: str, start: int, end: int) -> None:
        """Send the transcript of a turn. A turn without text is left out, unless a draft of it was sent."""
        if text or self._last_draft:
            self._send_completed(text, start, end)

    def _send_completed(self, text: str, start: int, end: int) -> None:
        self.events.put_nowait(Completed(text, seconds(start), seconds(end - start)))
        self.events.put_nowait(Processed(end * 1000 / RATE_HZ))
        self._last_draft = ""

    async def _commit(self) -> None:
        """Complete what was said until now. Each commit gets an event, even if there was no speech."""
        turn = self._turns.finish()
        if turn is not None:
            await self._end(turn)
        now = self._turns.position
        if self._manual:
            text, self._kept = "".join(self._kept).strip(), []
            self._send_completed(text, self._kept_from, now)
        elif turn is None:
            self._send_completed("", now, now)
        self._kept_from = now

    def _clear(self) -> None:
        self._drafts.drop()
        self._turns = Turns(self._turns.limits, self._turns.position)
        self._kept, self._kept_from, self._last_draft = [], self._turns.position, ""

    async def _update(self, message: Update) -> None:
        """Apply new settings.

        If turn detection is switched on, texts kept for a commit are completed first.
        """
        if self._manual and message.turn_detection is not None and self._kept:
            await self._commit()
        self._manual = message.turn_detection is None
        self._turns.limits = _limits(message.turn_detection)
        language = self._whisper.language(message.language)
        self._drafts.options = replace(self._drafts.options, prompt=message.prompt, language=language)


def _limits(wanted: TurnDetection | None) -> Limits:
    return _MANUAL if wanted is None else wanted.limits(_LONGEST_S)
