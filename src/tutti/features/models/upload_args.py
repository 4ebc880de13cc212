"""What an upload is asked to do: all that the routes need of the job, whose parts are large."""

import msgspec

from tutti.jobs.args import Args

NAME = "model_upload"


class UploadArgs(Args, frozen=True, kw_only=True):
    """`source` is as it may be shown; `sealed` has the whole of it and the token, see `Sealed`."""

    model_name: str
    model_id: str
    source: str
    description: str | None
    base: str | None
    """Of an adapter: its base's name."""
    sealed: str


class Sealed(msgspec.Struct, frozen=True):
    source: str
    hf_token: str
