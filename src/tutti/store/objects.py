"""The object stores of store/blobs, from obstore."""

from datetime import timedelta
from pathlib import Path

from obstore.store import LocalStore, S3Store

from tutti.base.settings import Settings


def open_store(settings: Settings, folder: Path) -> LocalStore | S3Store:
    """Open the bucket that the settings name, or `folder` where they name none."""
    if settings.blob_url:
        return _open_bucket(settings)
    return LocalStore(folder, mkdir=True, automatic_cleanup=True)


def _open_bucket(settings: Settings) -> S3Store:
    endpoint = settings.blob_endpoint
    return S3Store.from_url(
        settings.blob_url,
        config={"endpoint": endpoint} if endpoint else None,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=15)},
    )
