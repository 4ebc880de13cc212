"""Realtime sessions of the fake engine. It measures how long somebody spoke: every sample but 0 is speech."""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


class Session:
    """A realtime session. `events` is the queue of its events."""

    def __init__(self, body: Json) -> None:
        self.id = secrets.token_hex(8)
        self.events: asyncio.Queue[Json] = asyncio.Queue()
        self._emit("opened", session=self.id)
        self._bytes_a_ms = 2 * int(body["sample_rate_hz"]) // 1000
        self._detection: Json | None = body["turn_detection"]
        self._prompt = str(body.get("prompt") or "")
        self._pending = b""
        self._heard_ms = self._spoken_ms = self._silent_ms = 0

    def take(self, message: Json) -> None:
        match message["type"]:
            case "append":
                self._append(base64.b64decode(message["audio"], validate=True))
            case "commit":
                self._complete()
            case "clear":
                self._spoken_ms = self._silent_ms = 0
            case "update":
                self._detection, self._prompt = message["turn_detection"], message.get("prompt") or ""
            case other:
                raise ValueError(f"there is no message {other}")

    def _append(self, audio: bytes) -> None:
        audio = self._pending + audio
        whole = len(audio) - len(audio) % self._bytes_a_ms
        self._pending = audio[whole:]
        for start in range(0, whole, self._bytes_a_ms):
            self._hear(any(audio[start : start + self._bytes_a_ms]))
        if self._spoken_ms and self._detection is not None:
            self._emit("delta", text=self._text())
        self._emit("processed", ms=self._heard_ms)

    def _hear(self, speech: bool) -> None:
        """Take one millisecond of audio, and complete the turn if the silence is long enough."""
        self._heard_ms += 1
        if speech:
            self._spoken_ms += 1
            self._silent_ms = 0
        elif self._spoken_ms:
            self._silent_ms += 1
        detection = self._detection
        if detection is not None and self._silent_ms >= detection["min_silence_duration_ms"]:
            self._complete()

    def _complete(self) -> None:
        if self._spoken_ms:
            start_s = (self._heard_ms - self._silent_ms - self._spoken_ms) / 1000
            self._emit(
                "completed", text=self._text(), start_s=max(0.0, start_s), duration_s=self._spoken_ms / 1000
            )
        self._spoken_ms = self._silent_ms = 0

    def _text(self) -> str:
        return f"{self._prompt} echo of {self._spoken_ms} ms".strip()

    def _emit(self, kind: str, **fields: Any) -> None:
        self.events.put_nowait({"type": kind, **fields})
