"""`python -m tutti.workers.transcribe --folder MODEL --port 9000 --threads 2` serves a Whisper model.

- POST /v1/audio/transcriptions, /v1/audio/translations: OpenAI's multipart form, plus `diarize`,
  `min_speakers`, `max_speakers` and `max_duration_s`. The answer is always verbose_json.
- POST /realtime: opens a live session; its events are the lines of the answer (live.py).
- GET /health, GET /progress.
"""

import argparse
from pathlib import Path

from aiohttp import web

from tutti.workers.transcribe.lanes import Work
from tutti.workers.transcribe.recording import Transcriber
from tutti.workers.transcribe.server import application
from tutti.workers.transcribe.voice import load_voice
from tutti.workers.transcribe.whisper import Whisper


def main() -> None:
    parser = argparse.ArgumentParser(prog="tutti.workers.transcribe")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    whisper = Whisper(args.folder, args.threads, Work())
    web.run_app(
        application(Transcriber(whisper, load_voice(), args.folder)),
        host="127.0.0.1",
        port=args.port,
        print=None,
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=0.1,
    )


if __name__ == "__main__":
    main()
