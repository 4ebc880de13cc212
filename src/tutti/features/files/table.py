"""The rows of csv and Parquet files, read in a process of their own that has limits (workers/rows)."""

import tempfile
from collections.abc import AsyncGenerator

import msgspec

from tutti.features.files.checks.file import Row
from tutti.features.files.service import content
from tutti.platform import Platform
from tutti.process.pipes import lines_of, piped_worker
from tutti.store.records import File


async def table_rows(platform: Platform, file: File) -> AsyncGenerator[Row]:
    """Yield the rows, up to one with an error that leaves nothing to be read. Raise NotFound once the file is
    deleted."""
    with tempfile.TemporaryFile(dir=platform.settings.data_dir) as local:
        async for chunk in content(platform, file):
            local.write(chunk)
        local.seek(0)
        last = 0
        async with piped_worker(f"rows.{file.file_type}", stdin=local) as process:
            async for line in lines_of(process):
                row = msgspec.json.decode(line, type=Row)
                last = row.line
                yield row
            status = await process.wait()
        if status > 0:
            raise RuntimeError(f"the reader of {file.file_type} files ended with {status}")
        if status < 0:
            error = f"Row {last + 1} is too large to be read in the time and memory that there are for it."
            yield Row(line=last + 1, error=error)
