"""`python -m tutti.workers.speech --family hibari --folder MODEL --port 9000` serves POST /v1/audio/speech,
GET /health and GET /progress."""

from pathlib import Path

from tutti.workers import http
from tutti.workers.speech.model import SpeechModel
from tutti.workers.speech.server import application
from tutti.workers.speech.speaker import Speaker

_FAMILIES = ("hibari", "kokoro", "orpheus")


def main() -> None:
    parser = http.parser("tutti.workers.speech")
    parser.add_argument("--family", choices=_FAMILIES, required=True)
    args = parser.parse_args()
    speaker = Speaker(_model(args.family, args.folder, args.threads))
    http.run(application(speaker), args.port)


def _model(family: str, folder: Path, threads: int) -> SpeechModel:
    """Open the model with the libraries of its family only: those of Orpheus are 13 MB."""
    if family == "hibari":
        from tutti.workers.speech.hibari import HibariModel as Model  # noqa: PLC0415 - only this family
    elif family == "kokoro":
        from tutti.workers.speech.kokoro import KokoroModel as Model  # noqa: PLC0415 - only this family
    else:
        from tutti.workers.speech.orpheus import OrpheusModel as Model  # noqa: PLC0415 - only this family
    return Model(folder, threads)


if __name__ == "__main__":
    main()
