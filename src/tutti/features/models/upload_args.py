"""Arguments of an upload: all that the routes need of the job, whose modules are large."""

import msgspec

from tutti.jobs.args import Args

NAME = "model_upload"


class UploadArgs(Args, frozen=True, kw_only=True):
    """Arguments of the job. `source` has no secrets; `sealed` has all of it and the token, see `Sealed`."""

    model_name: str
    model_id: str
    source: str
    description: str | None
    base: str | None
    """The name of an adapter's base; None for a model."""
    sealed: str


class Sealed(msgspec.Struct, frozen=True):
    source: str
    hf_token: str
