"""Lines of a batch: `{"custom_id": ..., "body": {"model": ...}}`, with or without OpenAI's `method`, `url`.

The model may also be named when the batch is made. Its job checks that the lines fit its endpoint
(`batches/validation`); here the batch is not known.
"""

from tutti.features.files.checks.wrong import Json, Wrong, a_text, an_object, shown

ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/rerank",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
)
"""Each takes a JSON body; that of audio names a URL as its `file`. A new one is a path here."""
MAX_REQUESTS = 5_000_000
"""Requests of one batch."""
LONGEST_ID = 512
"""Characters of a custom_id."""


def check_batch(fields: Json) -> str:
    """Return the line's custom_id. Raise Wrong if the line is no request."""
    if "custom_id" not in fields:
        raise Wrong(
            "The line has no `custom_id`: give each its own, by which you find its result.", "custom_id"
        )
    custom_id = a_text(fields["custom_id"], "custom_id")
    if not 0 < len(custom_id) <= LONGEST_ID:
        raise Wrong(f"`custom_id` must have 1 to {LONGEST_ID} characters.", "custom_id")
    if fields.get("method") not in (None, "POST"):
        raise Wrong("`method` must be POST.", "method")
    if fields.get("url") not in (None, *ENDPOINTS):
        raise Wrong(f"`url` is {shown(fields['url'])}, but must be one of {', '.join(ENDPOINTS)}.", "url")
    if "body" not in fields:
        raise Wrong("The line has no `body`: give the request's fields.", "body")
    body = an_object(fields["body"], "body")
    if body.get("model") is not None and not a_text(body["model"], "body.model"):
        raise Wrong("`body.model` must not be empty.", "body.model")
    return custom_id
