# pyright: basic
# onnxruntime comes without types.
"""Voice activity detection with Silero's VAD model, which faster-whisper includes.

It gives the probability of speech for each frame of 512 samples, 31 times a second.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from faster_whisper.utils import get_assets_path

from tutti.workers import onnx
from tutti.workers.transcribe.samples import Samples

FRAME = 512
_CONTEXT = 64  # the samples of the previous frame that the model takes with each frame


def load_vad() -> onnxruntime.InferenceSession:
    """Load the model. One session serves any number of streams."""
    return onnx.session(Path(get_assets_path()) / "silero_vad_v6.onnx", 1, keeps_memory=False)


class SpeechDetector:
    """The state of one stream: the LSTM state (h, c), and the samples that do not fill a frame yet."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._h = self._c = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)
        self._rest = np.empty(0, np.float32)

    def hear(self, samples: Samples) -> Samples:
        """Return the speech probability of each frame that these samples complete."""
        samples = np.concatenate([self._rest, samples])
        count = len(samples) // FRAME
        self._rest = samples[count * FRAME :]
        return self._run(samples[: count * FRAME].reshape(count, FRAME)) if count else np.empty(0, np.float32)

    def finish(self) -> Samples:
        """Return the probability of the last, incomplete frame, padded with silence."""
        return self.hear(np.zeros(-len(self._rest) % FRAME, np.float32))

    def _run(self, frames: Samples) -> Samples:
        contexts = np.vstack([self._context, frames[:-1, -_CONTEXT:]])
        self._context = frames[-1, -_CONTEXT:].copy()
        found, self._h, self._c = self._session.run(
            None, {"input": np.hstack([contexts, frames]), "h": self._h, "c": self._c}
        )
        return np.asarray(found, np.float32).reshape(-1)
