"""The object stores of store/blobs, from obstore."""

from datetime import timedelta
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from tutti.base.settings import Settings

__all__ = ["BaseError", "folder", "open_store"]


def open_store(settings: Settings) -> LocalStore | S3Store:
    return _bucket(settings) if settings.blob_url else _local(settings)


def folder(settings: Settings) -> Path:
    return settings.data_dir / "blobs"


def _local(settings: Settings) -> LocalStore:
    return LocalStore(folder(settings), mkdir=True, automatic_cleanup=True)


def _bucket(settings: Settings) -> S3Store:
    endpoint = settings.blob_endpoint
    return S3Store.from_url(
        settings.blob_url,
        config={"endpoint": endpoint} if endpoint else None,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=15)},
    )
