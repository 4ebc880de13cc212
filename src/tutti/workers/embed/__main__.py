# pyright: basic
# onnxruntime comes without types.
"""Sentence embeddings over HTTP, on onnxruntime.

`python -m tutti.workers.embed --folder MODEL --port 9000` serves POST /v1/embeddings and POST /v1/rerank (by
the cosine similarity of the embeddings, mapped from -1..1 to 0..1), GET /health and GET /progress. Texts that
are longer than the model's limit are truncated. One thread runs the model, one batch after the other;
requests take turns, batch by batch.
"""

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from aiohttp import web
from tokenizers import Tokenizer

from tutti.workers import http, onnx
from tutti.workers.embed.bert import GRAPH_FILE

Vectors = np.ndarray[Any, np.dtype[np.float32]]

_BATCH_TEXTS = 32
_BATCH_TOKENS = 4096  # padding included. onnxruntime keeps the memory that the largest batch took.


class EmbeddingsRequest(msgspec.Struct):
    input: str | list[str | list[int]]
    encoding_format: str = "float"


class RerankRequest(msgspec.Struct):
    query: str
    documents: list[str]


class Embedder:
    """An embedding model with the thread that runs it.

    `busy` counts running requests, `done` finished batches.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self._session = onnx.session(_graph(folder), threads)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.encode_special_tokens = True  # a special token's name inside a text is plain text
        self._max_tokens = _max_tokens(folder)
        self._tokenizer.enable_truncation(self._max_tokens)
        self._ends = self._tokenizer.encode("").ids
        self._thread = ThreadPoolExecutor(1, "embedder")
        self.busy = 0
        self.done = 0

    async def embed(self, texts: Sequence[str | list[int]]) -> tuple[Vectors, int]:
        """Return the embeddings, a row for each text, and the total number of tokens.

        A text is a string or a list of token ids. Raises Refused for an unknown token id.
        """
        loop = asyncio.get_running_loop()
        self.busy += 1
        try:
            encodings = await loop.run_in_executor(self._thread, self._encode, texts)
            rows: list[Vectors] = [np.empty(0, np.float32)] * len(texts)
            for batch in _batches([len(encoding) for encoding in encodings]):
                found = await loop.run_in_executor(self._thread, self._run, [encodings[i] for i in batch])
                for index, row in zip(batch, found, strict=True):
                    rows[index] = row
            return np.stack(rows), sum(len(encoding) for encoding in encodings)
        finally:
            self.busy -= 1

    def _encode(self, texts: Sequence[str | list[int]]) -> list[list[int]]:
        encoded = iter(self._tokenizer.encode_batch([text for text in texts if isinstance(text, str)]))
        return [
            next(encoded).ids if isinstance(text, str) else self._with_special_tokens(text) for text in texts
        ]

    def _with_special_tokens(self, ids: list[int]) -> list[int]:
        """Return the ids with the begin and end tokens that every text has, truncated like a text."""
        if unknown := [token for token in ids if token >= self._tokenizer.get_vocab_size()]:
            raise http.Refused(f"There is no token {unknown[0]} in this model's tokenizer.", "input")
        begin, end = self._ends[:1], self._ends[1:]
        if ids[:1] == begin and ids[-1:] == end:
            ids = ids[1:-1]
        return [*begin, *ids[: self._max_tokens - len(self._ends)], *end]

    def _run(self, encodings: Sequence[list[int]]) -> Vectors:
        ids = np.zeros((len(encodings), max(len(encoding) for encoding in encodings)), np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding)] = encoding
            mask[row, : len(encoding)] = 1
        found = self._session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0]
        self.done += 1
        return np.asarray(found, np.float32)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Yield batches of indexes.

    Each holds texts of about the same length, longest first, so that little is padding.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        longest = lengths[batch[0]] if batch else 0
        if batch and (len(batch) == _BATCH_TEXTS or longest * (len(batch) + 1) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _graph(folder: Path) -> Path:
    """Return the path of the ONNX graph, and build it first if it is missing or older than the weights.

    A child process builds it, because that takes much memory for a moment.
    """
    path, weights = folder / GRAPH_FILE, folder / "model.safetensors"
    if not path.exists() or path.stat().st_mtime < weights.stat().st_mtime:
        made = subprocess.run([sys.executable, "-m", "tutti.workers.embed.bert", str(folder)], check=False)
        if made.returncode:
            sys.exit(made.returncode)
    return path


def _max_tokens(folder: Path) -> int:
    for name, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("config.json", "max_position_embeddings"),
    ):
        if (folder / name).exists():
            value = json.loads((folder / name).read_text()).get(key)
            if value:
                return int(value)
    return 512


# --- HTTP -------------------------------------------------------------------------------------------------


def application(embedder: Embedder) -> web.Application:
    async def embeddings(request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=EmbeddingsRequest)
        texts: list[str | list[int]] = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        vectors, tokens = await embedder.embed(texts) if texts else (np.empty((0, 0), np.float32), 0)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(row, wanted.encoding_format)}
            for index, row in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return http.answer({"object": "list", "data": data, "usage": usage})

    async def rerank(request: web.Request) -> web.Response:
        wanted = msgspec.json.decode(await request.read(), type=RerankRequest)
        vectors, tokens = await embedder.embed([wanted.query, *wanted.documents])
        scores = (_cosines(vectors[0], vectors[1:]) + 1) / 2
        results = [{"index": index, "relevance_score": float(score)} for index, score in enumerate(scores)]
        return http.answer({"results": results, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})

    routes = [web.post("/v1/embeddings", embeddings), web.post("/v1/rerank", rerank)]
    return http.application(routes, lambda: {"busy": embedder.busy, "done": embedder.done})


def _cosines(query: Vectors, documents: Vectors) -> Vectors:
    norms = np.linalg.norm(documents, axis=-1) * np.linalg.norm(query)
    return np.clip(documents @ query / np.maximum(norms, 1e-12), -1, 1)


def _encoded(row: Vectors, encoding_format: str) -> str | list[float]:
    return b64encode(row.astype("<f4").tobytes()).decode() if encoding_format == "base64" else row.tolist()


def main() -> None:
    args = http.parser("tutti.workers.embed").parse_args()
    http.run(application(Embedder(args.folder, args.threads)), args.port)


if __name__ == "__main__":
    main()
