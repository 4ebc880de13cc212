"""`python -m tutti.workers.speech --family hibari --folder MODEL --port 9000` serves POST /v1/audio/speech,
GET /health and GET /progress."""

import argparse
from pathlib import Path

from aiohttp import web

from tutti.workers.speech.hibari import HibariModel
from tutti.workers.speech.kokoro import KokoroModel
from tutti.workers.speech.model import SpeechModel
from tutti.workers.speech.server import application
from tutti.workers.speech.speaker import Speaker


def main() -> None:
    args = _arguments()
    speaker = Speaker(_model(args.family, args.folder, args.threads))
    web.run_app(
        application(speaker),
        host="127.0.0.1",
        port=args.port,
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tutti.workers.speech")
    parser.add_argument("--family", choices=("hibari", "kokoro"), required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def _model(family: str, folder: Path, threads: int) -> SpeechModel:
    return HibariModel(folder, threads) if family == "hibari" else KokoroModel(folder, threads)


if __name__ == "__main__":
    main()
