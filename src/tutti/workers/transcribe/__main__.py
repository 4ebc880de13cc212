"""`python -m tutti.workers.transcribe --folder MODEL --port 9000 --threads 2` serves a Whisper model.

- POST /v1/audio/transcriptions, /v1/audio/translations: OpenAI's multipart form, plus `diarize`,
  `min_speakers`, `max_speakers` and `max_duration_s`. The answer is always verbose_json.
- POST /realtime: opens a live session. Its events are the lines of the response (live.py).
- GET /health, GET /progress.
"""

from tutti.workers import http
from tutti.workers.transcribe.lanes import Work
from tutti.workers.transcribe.recording import Transcriber
from tutti.workers.transcribe.server import application
from tutti.workers.transcribe.vad import load_vad
from tutti.workers.transcribe.whisper import Whisper


def main() -> None:
    args = http.parser("tutti.workers.transcribe").parse_args()
    whisper = Whisper(args.folder, args.threads, Work())
    http.run(application(Transcriber(whisper, load_vad(), args.folder)), args.port)


if __name__ == "__main__":
    main()
