"""`python -m tutti.workers.speech --family hibari --folder MODEL --port 9000` serves POST /v1/audio/speech,
GET /health and GET /progress."""

import importlib
from pathlib import Path

from tutti.workers import http
from tutti.workers.speech.model import SpeechModel
from tutti.workers.speech.server import application
from tutti.workers.speech.speaker import Speaker

_FAMILIES = {"hibari": "HibariModel", "kokoro": "KokoroModel", "orpheus": "OrpheusModel"}


def main() -> None:
    parser = http.parser("tutti.workers.speech")
    parser.add_argument("--family", choices=_FAMILIES, required=True)
    args = parser.parse_args()
    speaker = Speaker(_model(args.family, args.folder, args.threads))
    http.run(application(speaker), args.port)


def _model(family: str, folder: Path, threads: int) -> SpeechModel:
    """Loads the libraries of this family only: those of Orpheus are 13 MB."""
    module = importlib.import_module(f"tutti.workers.speech.{family}")
    return getattr(module, _FAMILIES[family])(folder, threads)


if __name__ == "__main__":
    main()
