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
        description="Web pages that may use the API: origins such as https://chat.example.org, `loopback` "
        "for pages on localhost, or * for all pages.",
    )
    stall_timeout_s: float = Field(
        30.0,
        gt=0,
        description="A request is ended with a 408 if its head takes longer than this, or if its body stops "
        "for this long.",
    )
    workers: int = Field(1, ge=1, le=256, description="Number of API worker processes.")
    data_dir: Path = Field(
        Path("~/.tutti").expanduser(), description="Folder for the database, weights, blobs and logs."
    )
    database_url: str = Field(
        "",
        pattern=r"^(|(postgresql|postgres|sqlite)(\+\w+)?://.*)$",
        description="postgresql://user:password@host/db. Empty: SQLite in the data directory.",
    )
    blob_url: str = Field(
        "",
        pattern=r"^(|s3://[\w.-]+(/.*)?)$",
        description="s3://bucket/prefix. Empty: a folder in the data directory.",
    )
    blob_endpoint: str = Field("", description="Endpoint of an S3-compatible server other than AWS.")
    models: list[str] = Field(
        ["Qwen/Qwen2.5-Coder-0.5B-Instruct"],
        description="Models to pull and load at start: catalogue names, Hugging Face repos or local files.",
    )
    aliases: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Other names for models. Wildcards are allowed: {'meta-llama/*': 'Qwen/...'}.",
    )
    voice_aliases: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Other names for voices, or for mixes of them: {'nova': 'af_bella'}. By default each of "
        "OpenAI's voice names stands for one of the model's voices.",
    )
    catalog: Path | None = Field(None, description="Your own catalogue file (TOML).")
    pull_on_use: bool = Field(True, description="Download a catalogue model when it is first requested.")
    memory_budget_bytes: int = Field(
        0, ge=0, description="Memory that all loaded models together may use. 0: 80% of the machine's."
    )
    max_queue: int = Field(
        256,
        ge=0,
        description="Requests that may wait for one model. Beyond this, the newest request of the project "
        "with the most waiting gets a 429 with retry-after.",
    )
    max_project_queue: int = Field(
        0,
        ge=0,
        description="Requests of one project that may wait for one model. 0: as many as max_queue; projects "
        "take turns all the same.",
    )
    load_wait_s: float = Field(
        50.0,
        gt=0,
        description="Time that a request waits for its model to load before it gets a 503 with retry-after.",
    )
    early_headers_s: float = Field(
        3.0,
        gt=0,
        description="A stream that waits longer than this gets its headers and SSE comments meanwhile.",
    )
    hang_timeout_s: float = Field(
        60.0,
        gt=0,
        description="A busy engine that makes no progress and uses no CPU for this long is restarted. One "
        "that uses CPU without progress is restarted after ten times as long. So is the interpreter.",
    )
    drain_timeout_s: float = Field(
        30.0, ge=0, description="Time that running requests may take to finish after SIGTERM."
    )
    job_workers: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes for jobs (batches, evaluations, ...), started when there are jobs.",
    )
    job_lease_s: float = Field(
        15.0, ge=1, description="Time after which the jobs of a dead process run in another one."
    )
    requests_per_minute: int = Field(
        0, ge=0, description="Request limit of keys that have no limit of their own. 0: none."
    )
    tokens_per_minute: int = Field(
        0, ge=0, description="Token limit of keys that have no limit of their own. 0: none."
    )
    max_body_bytes: int = Field(
        64 * 1024 * 1024, gt=0, description="Largest JSON request body; a larger one is a 413."
    )
    max_file_bytes: int = Field(
        64 * 1024**3, gt=0, description="Largest file that may be uploaded; a larger one is a 413."
    )
    project_bytes: int = Field(
        0,
        ge=0,
        description="Total size of one project's files, unfinished uploads included; more is a 429. 0: half "
        "of the disk that they are on, or no limit in a bucket.",
    )
    project_jobs: int = Field(
        10_000,
        ge=1,
        description="Jobs (batches, evaluations, model uploads, file checks) that one project may have "
        "waiting or running; one more is a 429 with retry-after.",
    )
    max_audio_bytes: int = Field(
        1024**3, gt=0, description="Largest recording to transcribe; a larger one is a 413."
    )
    max_audio_s: float = Field(
        4 * 3600.0, gt=0, description="Longest recording to transcribe; a longer one is a 400."
    )
    max_speech_chars: int = Field(
        32_768,
        gt=0,
        description="Longest text to speak; a longer one is a 400. Also the most text that a socket buffers.",
    )
    max_sockets: int = Field(
        256,
        ge=0,
        description="WebSockets (speech, realtime) that may be open at once; one more closes an idle one.",
    )
    max_project_sockets: int = Field(
        0,
        ge=0,
        description="WebSockets of one project that may be open at once. 0: three quarters of max_sockets.",
    )
    socket_idle_s: float = Field(
        300.0, gt=0, description="A WebSocket whose client sends nothing for this long is closed."
    )
    interpreter_driver: str = Field(
        "",
        pattern="^(|bubblewrap|runsc|podman|docker)$",
        description="Sandbox of the code interpreter: bubblewrap, runsc, podman or docker. Empty: the first "
        "of them that works on this machine.",
    )
    interpreter_unsafe_subprocess: bool = Field(
        False,
        description="If no sandbox works, run code WITHOUT one. The code can then do whatever this server "
        "can.",
    )
    interpreter_network: list[str] = Field(
        default_factory=list[str],
        description="Projects (ids, or * for all) whose code may reach the public internet. No code reaches "
        "the local network.",
    )
    interpreter_sessions: int = Field(
        64,
        ge=1,
        le=10_000,
        description="Code interpreter sessions that may exist at once; one more ends an idle one.",
    )
    interpreter_project_sessions: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Sessions of one project that may exist at once. 0: three quarters of "
        "interpreter_sessions.",
    )
    interpreter_warm: int = Field(2, ge=0, le=64, description="Spare sessions that are started in advance.")
    interpreter_session_s: float = Field(3600.0, gt=0, description="Lifetime of a session.")
    interpreter_memory_bytes: int = Field(
        1024**3,
        ge=64 * 1024**2,
        description="Memory that one session may use; beyond it the session is ended.",
    )
    interpreter_total_memory_bytes: int = Field(
        0,
        ge=0,
        description="Memory that all sessions together may use; beyond it one of the project that uses the "
        "most is ended. 0: a fifth of the machine's.",
    )
    interpreter_processes: int = Field(64, ge=8, description="Processes and threads that a session may have.")
    interpreter_disk_bytes: int = Field(
        256 * 1024**2,
        ge=1024**2,
        description="Size of the files of one session. They are kept in memory, too.",
    )
    interpreter_output_bytes: int = Field(
        8 * 1024**2,
        ge=1024,
        description="Output of one execution; beyond it the output is cut and the code interrupted.",
    )
    interpreter_time_s: float = Field(
        50.0,
        gt=0,
        description="Time that one execution may take. Some official clients stop waiting after 60 s.",
    )
    interpreter_cpu_s: float = Field(
        120.0, gt=0, description="CPU time that one execution may use, in all its processes together."
    )
    hub_url: str = Field(
        "https://huggingface.co", description="URL of Hugging Face, or of another hub with its protocol."
    )
    hub_token: str = Field("", description="Token for gated repositories.", repr=False)
    secret: str = Field(
        "",
        description="Secret with which API keys are hashed. Empty: made once and kept in the data directory.",
        repr=False,
    )
    threads: int = Field(0, ge=0, description="CPU threads of each engine. 0: one per physical core.")
    vllm_python: str = Field(
        "", description="Python of an environment with vLLM. Empty: the command `vllm` on PATH."
    )
    log_level: str = Field(
        "info",
        pattern="^(debug|info|warning|error)$",
        description="Lowest level that is logged: debug, info, warning or error.",
    )

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
