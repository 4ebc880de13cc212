# pyright: basic
# scipy comes without types.
"""Speaker diarization: who speaks when.

Embeddings of overlapping windows of speech are clustered by agglomerative clustering (average linkage, cosine
distance). The speaker of a moment is the one to whom the windows around it are most similar.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from tutti.workers.transcribe.samples import RATE_HZ, Samples
from tutti.workers.transcribe.speaker_encoder import FRAMES, HOP, SpeakerEncoder
from tutti.workers.transcribe.turns import Turn

_STEP = 40  # frames from one window to the next: 0.4 s
_MAX_CLUSTERED = 1500  # windows; the others join the nearest speaker, since distances take quadratic memory
_SAME_WINDOWS = 0.28  # the average cosine distance of single windows up to which it is the same voice
_SAME_VOICES = 0.06  # the same for the means of many windows
_LEAST_SHARE = 0.02  # a cluster with a smaller share of the speech is rather a mixture of speakers

Array = NDArray[np.float32]


@dataclass
class Windows:
    """The windows of speech in a recording.

    `spans` holds (start, end) in seconds, `vectors` the embeddings.
    """

    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    vectors: list[Array] = field(default_factory=list[Array])

    def add(self, encoder: SpeakerEncoder, turn: Turn, samples: Samples) -> None:
        """Add the windows of a turn, whose samples are given."""
        rows = encoder.spectrogram(samples)
        starts = range(0, max(len(rows) - FRAMES, 0) + 1, _STEP)
        windows = [
            np.resize(rows[start:], (FRAMES, rows.shape[1]))
            if len(rows) < FRAMES
            else rows[start : start + FRAMES]
            for start in starts
        ]
        self.vectors.extend(encoder.vectors(windows))
        begin, length = turn.start / RATE_HZ, FRAMES * HOP / RATE_HZ
        self.spans.extend(
            (begin + start * HOP / RATE_HZ, begin + start * HOP / RATE_HZ + length) for start in starts
        )


@dataclass(frozen=True)
class Speakers:
    """The speakers of a recording."""

    spans: NDArray[np.float64]
    similarity: Array
    """The cosine similarity of each window (row) to each speaker (column)."""

    def at(self, start_s: float, end_s: float) -> int:
        """Return the number of the speaker in the middle of that time, or nearest to it."""
        middle = (start_s + end_s) / 2
        around = (self.spans[:, 0] <= middle) & (middle <= self.spans[:, 1])
        if not around.any():
            distance = np.maximum(self.spans[:, 0] - middle, middle - self.spans[:, 1])
            around = distance == distance.min()
        return int(self.similarity[around].sum(0).argmax())


def tell_apart(windows: Windows, least: int | None, most: int | None) -> Speakers | None:
    """Find the speakers, at least `least` and at most `most`. Return None if there is no speech."""
    if not windows.vectors:
        return None
    vectors = np.stack(windows.vectors)
    chosen = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), _MAX_CLUSTERED)).astype(int)]
    centres = _centres(chosen, least or 1, most or len(chosen))
    return Speakers(np.array(windows.spans), vectors @ centres.T)


def _centres(vectors: Array, least: int, most: int) -> Array:
    if len(vectors) == 1:
        return vectors
    tree = linkage(vectors, "average", metric="cosine")
    labels = fcluster(tree, _SAME_WINDOWS, "distance")
    if len(set(labels)) < least:
        labels = fcluster(tree, least, "maxclust")
    groups = [vectors[labels == label] for label in sorted(set(labels))]
    return np.stack([_centre(group) for group in _merged(_large(groups, least), least, most)])


def _large(groups: Sequence[Array], least: int) -> list[Array]:
    """Return the clusters that are large enough to be a speaker, and the `least` largest in any case."""
    groups = sorted(groups, key=len, reverse=True)
    enough = _LEAST_SHARE * sum(map(len, groups))
    return [group for index, group in enumerate(groups) if index < least or len(group) >= max(enough, 2)]


def _merged(groups: list[Array], least: int, most: int) -> list[Array]:
    """Merge the most similar clusters until there are at most `most`, and no two are the same voice."""
    while len(groups) > max(least, 1):
        centres = np.stack([_centre(group) for group in groups])
        similarity = centres @ centres.T - 2 * np.eye(len(groups), dtype=np.float32)
        one, other = sorted(np.unravel_index(similarity.argmax(), similarity.shape))
        if similarity[one, other] < 1 - _SAME_VOICES and len(groups) <= most:
            break
        groups[one] = np.concatenate([groups[one], groups.pop(other)])
    return groups


def _centre(group: Array) -> Array:
    mean = group.mean(0)
    return mean / np.linalg.norm(mean)
