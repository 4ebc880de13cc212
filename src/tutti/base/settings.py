"""Every setting, once. Each is a flag of `tutti serve` and an environment variable `TUTTI_<NAME>`."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK_PAGES = "loopback"
"""Stands, among the origins of pages, for all pages that this machine serves to itself."""
_ORIGIN = re.compile(r"https?://[^/?#@\s]+")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="TUTTI_", frozen=True, extra="forbid", hide_input_in_errors=True
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    cors_origins: list[str] = Field(
        [LOOPBACK_PAGES],
        description="Pages in browsers that may use the API: origins such as https://chat.example.org, "
        "`loopback` for those on localhost, or * for all.",
    )
    stall_timeout_s: float = Field(
        30.0,
        gt=0,
        description="A request whose head takes longer than this, or whose body stands still for as long, is "
        "ended with a 408.",
    )
    workers: int = Field(1, ge=1, le=256, description="API worker processes, each with its own socket.")
    data_dir: Path = Field(Path("~/.tutti").expanduser(), description="Database, weights, blobs and logs.")
    database_url: str = Field(
        "",
        pattern=r"^(|(postgresql|postgres|sqlite)(\+\w+)?://.*)$",
        description="postgresql://user:password@host/db; empty: SQLite in the data directory.",
    )
    blob_url: str = Field(
        "",
        pattern=r"^(|s3://[\w.-]+(/.*)?)$",
        description="s3://bucket/prefix; empty: a folder in the data directory.",
    )
    blob_endpoint: str = Field("", description="Endpoint of an S3-compatible server other than AWS.")
    models: list[str] = Field(
        ["Qwen/Qwen2.5-Coder-0.5B-Instruct"],
        description="Models to pull and load at start: catalogue names, Hugging Face repos or local files.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Names that stand for a model, wildcards allowed: {'meta-llama/*': 'Qwen/...'}.",
    )
    voice_aliases: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Names that stand for a voice or a mix of them: {'nova': 'af_bella'}. Without one, each "
        "of openai's names stands for some voice of the model.",
    )
    catalog: Path | None = Field(None, description="A catalogue file of your own (TOML).")
    pull_on_use: bool = Field(True, description="Download a catalogue model when it is first requested.")
    memory_budget_bytes: int = Field(
        0, ge=0, description="Memory that loaded models may take together; 0: 80% of the machine's."
    )
    max_queue: int = Field(
        256,
        ge=0,
        description="Requests that may wait for one model. One more, and the newest of the project with the "
        "most gets a 429 with retry-after.",
    )
    max_project_queue: int = Field(
        0, ge=0, description="How many of them may be one project's; 0: all of them, if no other wants any."
    )
    load_wait_s: float = Field(
        50.0,
        gt=0,
        description="How long a request waits for its model to load before a 503 with retry-after.",
    )
    early_headers_s: float = Field(
        3.0, gt=0, description="A stream that waits longer than this gets headers and SSE comments early."
    )
    hang_timeout_s: float = Field(
        60.0,
        gt=0,
        description="A busy engine that makes no progress and computes nothing for this long is restarted, "
        "and one that computes without any progress after ten times as long; the interpreter too.",
    )
    drain_timeout_s: float = Field(
        30.0, ge=0, description="After SIGTERM, how long running requests may take to finish."
    )
    job_workers: int = Field(
        1, ge=1, le=64, description="Processes for batches, evaluations and the like, while there are any."
    )
    job_lease_s: float = Field(
        15.0, ge=1, description="How soon the jobs of a process that died run in another one."
    )
    requests_per_minute: int = Field(0, ge=0, description="Limit for keys without their own; 0: none.")
    tokens_per_minute: int = Field(0, ge=0, description="Limit for keys without their own; 0: none.")
    max_body_bytes: int = Field(
        64 * 1024 * 1024, gt=0, description="Largest JSON request body; a larger one is a 413."
    )
    max_file_bytes: int = Field(
        64 * 1024**3, gt=0, description="Largest file that may be uploaded; a larger one is a 413."
    )
    project_bytes: int = Field(
        0,
        ge=0,
        description="What the files of one project may take together, unfinished uploads included; more is a "
        "429. 0: half of the disk that they are on; in a bucket, any.",
    )
    project_jobs: int = Field(
        10_000,
        ge=1,
        description="Batches, evaluations, uploads of models and checks of files that one project may have "
        "waiting or running; one more is a 429 with retry-after.",
    )
    max_audio_bytes: int = Field(
        1024**3, gt=0, description="Largest recording to transcribe; a larger one is a 413."
    )
    max_audio_s: float = Field(
        4 * 3600.0, gt=0, description="Longest recording to transcribe; a longer one is a 400."
    )
    max_speech_chars: int = Field(
        32_768, gt=0, description="Longest text to speak; a longer one is a 400. Also what a socket keeps."
    )
    max_sockets: int = Field(
        256, ge=0, description="WebSockets (speech, realtime) at once; one more closes an idle one."
    )
    max_project_sockets: int = Field(
        0, ge=0, description="Those of one project; 0: three quarters of max_sockets."
    )
    socket_idle_s: float = Field(
        300.0, gt=0, description="A WebSocket whose client sends nothing for this long is closed."
    )
    interpreter_driver: str = Field(
        "",
        pattern="^(|bubblewrap|runsc|podman|docker)$",
        description="How the code interpreter's sandboxes are made: bubblewrap, runsc, podman or docker; "
        "empty: the first of them that works here.",
    )
    interpreter_unsafe_subprocess: bool = Field(
        False,
        description="Where no sandbox works, run code WITHOUT one: it can do whatever this server can.",
    )
    interpreter_network: list[str] = Field(
        default_factory=list[str],
        description="Projects (ids, or * for all) whose code may reach the internet; nobody's reaches this "
        "network.",
    )
    interpreter_sessions: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Sessions of the code interpreter at once; one more ends an idle one.",
    )
    interpreter_project_sessions: int = Field(
        0, ge=0, le=10_000, description="Those of one project; 0: three quarters of interpreter_sessions."
    )
    interpreter_warm: int = Field(
        2, ge=0, le=64, description="Sessions that are started before anybody asks for them."
    )
    interpreter_session_s: float = Field(3600.0, gt=0, description="How long a session lasts.")
    interpreter_memory_bytes: int = Field(
        1024**3, ge=64 * 1024**2, description="Memory that a session may take; above it, it is ended."
    )
    interpreter_total_memory_bytes: int = Field(
        0,
        ge=0,
        description="Memory that all sessions may take; above it, one of the project with the most is ended; "
        "0: a fifth of the machine's.",
    )
    interpreter_processes: int = Field(64, ge=8, description="Processes and threads that a session may have.")
    interpreter_disk_bytes: int = Field(
        256 * 1024**2, ge=1024**2, description="What a session may keep in files; they are in memory too."
    )
    interpreter_output_bytes: int = Field(
        8 * 1024**2, ge=1024, description="Output of one execution: there it is cut, and its code stopped."
    )
    interpreter_time_s: float = Field(
        50.0,
        gt=0,
        description="How long one execution may take; clients stop waiting after 60 s by default.",
    )
    interpreter_cpu_s: float = Field(
        120.0, gt=0, description="CPU time that one execution may take, all its processes together."
    )
    hub_url: str = Field("https://huggingface.co", description="A hub that speaks Hugging Face's protocol.")
    hub_token: str = Field("", description="Token for gated repositories.", repr=False)
    secret: str = Field(
        "",
        description="Key of the HMAC over API keys; empty: made once and kept in the data dir.",
        repr=False,
    )
    threads: int = Field(0, ge=0, description="CPU threads for one engine; 0: one a physical core.")
    vllm_python: str = Field("", description="Python of an environment that has vLLM; empty: `vllm` on PATH.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level logged.")

    @field_validator("database_url", "blob_endpoint", "hub_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        """Refuse a URL here that a library would fail at later, with a traceback."""
        if url:
            _check_port(url)
        return url

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, origins: list[str]) -> list[str]:
        named = [origin.strip().lower() for some in origins for origin in some.split(",")]
        for origin in named:
            if origin not in (LOOPBACK_PAGES, "*") and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin[:80]} is not an origin: scheme, host and port, without a path")
        return named


def _check_port(url: str) -> None:
    """Raise ValueError if the URL's port is not valid. Its text never quotes the URL, which may hold a
    password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("it is not a valid URL: look at its host") from None
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port is not a number from 0 to 65535") from None
