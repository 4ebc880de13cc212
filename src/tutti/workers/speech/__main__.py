"""`python -m tutti.workers.speech --family hibari --folder MODEL --port 9000` serves POST /v1/audio/speech,
GET /health and GET /progress."""

from pathlib import Path

from tutti.workers import http
from tutti.workers.speech.hibari import HibariModel
from tutti.workers.speech.kokoro import KokoroModel
from tutti.workers.speech.model import SpeechModel
from tutti.workers.speech.server import application
from tutti.workers.speech.speaker import Speaker


def main() -> None:
    parser = http.parser("tutti.workers.speech")
    parser.add_argument("--family", choices=("hibari", "kokoro"), required=True)
    args = parser.parse_args()
    speaker = Speaker(_model(args.family, args.folder, args.threads))
    http.run(application(speaker), args.port)


def _model(family: str, folder: Path, threads: int) -> SpeechModel:
    return HibariModel(folder, threads) if family == "hibari" else KokoroModel(folder, threads)


if __name__ == "__main__":
    main()
