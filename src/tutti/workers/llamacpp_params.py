"""The parameters that all workers give to llama.cpp's HTTP server."""

# pyright: basic, reportAttributeAccessIssue=false
# xllamacpp comes without types.

from pathlib import Path

import xllamacpp

LOOPBACK = "127.0.0.1"


def server_params(model: Path, threads: int, port: int = 0) -> xllamacpp.CommonParams:
    """Return parameters for a server on the loopback address. Port 0 takes any free port."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = [LOOPBACK], port
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # otherwise prompts that left their slot fill up to 8 GB
    params.endpoint_props = params.ui = params.fit_params = False
    params.verbosity = 1  # errors only
    return params


def use_chat_template(params: xllamacpp.CommonParams, template: str | None) -> None:
    """Render chats with the model's own template, or with the given one.

    Models think unless a request forbids it.
    """
    params.use_jinja = True
    params.default_template_kwargs = {"enable_thinking": "true"}
    if template is not None:
        params.chat_template = template
