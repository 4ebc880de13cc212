"""Writes a transcript in the format that the client wants."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from tutti.engines.audio import Segment, Transcript
from tutti.engines.calls import Json

Format = Literal["json", "verbose_json", "text", "srt", "vtt"]
TYPES: dict[Format, str] = {
    "json": "application/json",
    "verbose_json": "application/json",
    "text": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
}


def written(transcript: Transcript, form: Format, task: str) -> bytes:
    """Return the body of the answer. `task` is transcribe or translate."""
    match form:
        case "json":
            return msgspec.json.encode({"text": transcript.text} | _speakers(transcript))
        case "verbose_json":
            return msgspec.json.encode(_verbose(transcript, task))
        case "text":
            return f"{transcript.text}\n".encode()
        case "srt":
            return "\n".join(_subrip(transcript.segments)).encode()
        case "vtt":
            return "\n".join(["WEBVTT\n", *_webvtt(transcript.segments)]).encode()


def events(transcript: Transcript) -> Iterator[bytes]:
    """Yield OpenAI's events for a transcript."""
    text = ""
    for piece in _pieces(transcript):
        text += piece
        yield _event({"type": "transcript.text.delta", "delta": piece})
    yield _event({"type": "transcript.text.done", "text": text})
    yield b"data: [DONE]\n\n"


def _pieces(transcript: Transcript) -> Iterable[str]:
    texts = [segment.text.strip() for segment in transcript.segments] or [transcript.text]
    return (" " * (index > 0) + text for index, text in enumerate(texts))


def _event(event: Json) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)


def _verbose(transcript: Transcript, task: str) -> Json:
    body: Json = {
        "task": task,
        "language": transcript.language,
        "duration": transcript.duration_s,
        "text": transcript.text,
        "segments": transcript.segments,
    }
    if transcript.words is not None:
        body["words"] = transcript.words
    return body | _speakers(transcript)


def _speakers(transcript: Transcript) -> Json:
    """Return the fields about speakers, which every JSON has if the client asks for them."""
    if transcript.speaker_segments is None:
        return {}
    return {"words": transcript.words or (), "speaker_segments": transcript.speaker_segments}


def _subrip(segments: Sequence[Segment]) -> Iterator[str]:
    for number, segment in enumerate(segments, 1):
        yield f"{number}\n{_times(segment, ',')}\n{segment.text.strip()}\n"


def _webvtt(segments: Sequence[Segment]) -> Iterator[str]:
    for segment in segments:
        yield f"{_times(segment, '.')}\n{segment.text.strip().replace('-->', '->')}\n"


def _times(segment: Segment, mark: str) -> str:
    return f"{_clock(segment.start, mark)} --> {_clock(segment.end, mark)}"


def _clock(seconds: float, mark: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{mark}{milliseconds:03}"
