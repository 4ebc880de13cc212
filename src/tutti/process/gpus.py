"""The machine's GPUs, as nvidia-smi lists them; none where it is not installed."""

import asyncio
import shutil
from dataclasses import dataclass

_QUERY = ("--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    memory_bytes: int


async def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    process = await asyncio.create_subprocess_exec(
        program, *_QUERY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    output, _ = await process.communicate()
    return parse(output.decode()) if process.returncode == 0 else ()


def parse(listing: str) -> tuple[Gpu, ...]:
    """Read lines of `index, name, MiB`; a line of another shape (a GPU in error) is left out."""
    rows = (line.rsplit(",", 1) for line in listing.splitlines())
    return tuple(
        Gpu(int(index), name.strip(), int(memory) * 1024 * 1024)
        for head, memory in (row for row in rows if len(row) == 2)
        for index, _, name in [head.partition(",")]
        if index.strip().isdigit() and memory.strip().isdigit()
    )
