"""`tutti audio`: speech, transcribe, translate, voices."""

import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer

from tutti.cli import options
from tutti.cli.files_transfer import keep
from tutti.cli.http import Api, Json, connect, parts
from tutti.cli.output import write, write_json, write_table
from tutti.cli.server import ApiError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Speak, transcribe and translate.")

_Recording = Annotated[str, typer.Argument(help="An audio file, or its URL.")]
_Prompt = Annotated[str | None, typer.Option(help="Names and words that the recording may contain.")]
_Format = Annotated[
    str, typer.Option("--format", help="Output format: text, json, verbose_json, srt or vtt.")
]
_SUFFIXES = ("mp3", "wav", "raw", "pcm", "opus", "flac", "aac")


@app.command()
def speech(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="Text to speak, or - for standard input.")],
    model: options.Model = None,
    voice: Annotated[str | None, typer.Option(help="Voice; `tutti audio voices` lists them.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write.", show_default="standard output")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            help=f"Audio format: {', '.join(_SUFFIXES)}.", show_default="by the file's name, or wav"
        ),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the text, such as en, eng or en-US.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Sample rate in Hz.", show_default="the model's")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Speed, from 0.25 to 4.")] = None,
    pronounce: Annotated[
        list[str] | None,
        typer.Option(help="Pronunciation of a word, such as 'omg/oh my god'. Can be repeated."),
    ] = None,
) -> None:
    """Speak a text."""
    if output is None and sys.stdout.isatty():
        raise typer.BadParameter("a file is needed: a terminal cannot play audio", param_hint="--output")
    body = options.given(
        voice=voice,
        response_format=format or _format_of(output),
        language=language,
        sample_rate=sample_rate,
        speed=speed,
        extra_params={"pronunciation_dict": pronounce} if pronounce else None,
    )
    body["input"] = sys.stdin.read() if text == "-" else text
    with connect(context) as api:
        body["model"] = options.chosen(api, model, "audio")
        with api.answer("audio/speech", body) as response:
            keep(response, output)


@app.command()
def transcribe(
    context: typer.Context,
    recording: _Recording,
    model: options.Model = None,
    language: Annotated[
        str, typer.Option(help="Language of the recording, such as en or de; auto detects it.")
    ] = "auto",
    prompt: _Prompt = None,
    format: _Format = "text",
    words: Annotated[
        bool, typer.Option("--words", help="With --format verbose_json: the time of each word.")
    ] = False,
    diarize: Annotated[bool, typer.Option("--diarize", help="Label the speakers.")] = False,
    min_speakers: Annotated[int | None, typer.Option(help="Minimum number of speakers.")] = None,
    max_speakers: Annotated[int | None, typer.Option(help="Maximum number of speakers.")] = None,
) -> None:
    """Transcribe a recording."""
    by_speaker = diarize and format == "text"
    fields = options.given(
        language=language,
        prompt=prompt,
        response_format="json" if by_speaker else format,
        timestamp_granularities="segment,word" if words else None,
        diarize="true" if diarize else None,
        min_speakers=min_speakers,
        max_speakers=max_speakers,
    )
    with connect(context) as api:
        answer = _transcribed(api, "audio/transcriptions", recording, model, fields)
    if by_speaker:
        _write_speakers(answer.json())
    else:
        _write(answer, format)


@app.command()
def translate(
    context: typer.Context,
    recording: _Recording,
    model: options.Model = None,
    prompt: _Prompt = None,
    format: _Format = "text",
) -> None:
    """Transcribe a recording in any language into English."""
    fields = options.given(prompt=prompt, response_format=format)
    with connect(context) as api:
        answer = _transcribed(api, "audio/translations", recording, model, fields)
    _write(answer, format)


@app.command()
def voices(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Only voices of this model.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """List the voices of each model."""
    with connect(context) as api:
        answer = api.get_one("voices", model=model)
    if as_json:
        write_json(answer)
        return
    rows = [(entry["model"], it["name"]) for entry in parts(answer, "data") for it in parts(entry, "voices")]
    write_table(("model", "voice"), rows)


# --- helpers ------------------------------------------------------------------------------------------------


def _format_of(output: Path | None) -> str | None:
    suffix = "" if output is None else output.suffix.removeprefix(".").lower()
    return suffix if suffix in _SUFFIXES else None


def _transcribed(api: Api, path: str, recording: str, model: str | None, fields: Json) -> httpx.Response:
    named = {**fields, "model": options.chosen(api, model, "transcribe")}
    texts = {name: str(value) for name, value in named.items()}
    if recording.startswith(("http://", "https://")):
        return api.form(path, {**texts, "file": recording}, accept=())
    try:
        with Path(recording).open("rb") as file:
            return api.upload(path, texts, file)
    except OSError as error:
        raise ApiError(f"{recording}: {error.strerror}") from None


def _write(answer: httpx.Response, form: str) -> None:
    if form in ("json", "verbose_json"):
        write_json(answer.json())
    else:
        write(answer.text.rstrip("\n") + "\n")


def _write_speakers(answer: Json) -> None:
    for turn in parts(answer, "speaker_segments"):
        write(f"{turn['speaker_id']}: {str(turn['text']).strip()}\n")
