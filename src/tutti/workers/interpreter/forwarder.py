"""Forwards a loopback port to the HTTP proxy's UNIX socket, in sandboxes that may use the network.

HTTP clients can reach a proxy only at an address, not at a UNIX socket. The forwarder is a thread of the
runner, because a program of its own would be one more process, and 10 MB a session. Standard library only.
"""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter

_PIECE_BYTES = 64 * 1024


def start(path: str, port: int) -> None:
    """Start the forwarder, and return once the port accepts connections.

    Raises OSError if the port is taken.
    """
    listening = threading.Event()
    failed: list[OSError] = []

    def run() -> None:
        try:
            asyncio.run(_serve(path, port, listening))
        except OSError as error:
            failed.append(error)
            listening.set()

    threading.Thread(target=run, name="forwarder", daemon=True).start()
    listening.wait()
    if failed:
        raise failed[0]


async def _serve(path: str, port: int, listening: threading.Event) -> None:
    async def forward(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(path)
        except OSError:
            writer.close()
            return
        sending = asyncio.create_task(_pump(reader, back))
        await _pump(there, writer)
        sending.cancel()
        back.close()
        writer.close()

    server = await asyncio.start_server(forward, "127.0.0.1", port)
    listening.set()
    await server.serve_forever()


async def _pump(source: StreamReader, target: StreamWriter) -> None:
    """Copy from source to target until one side closes. The end of the source is passed on."""
    try:
        while piece := await source.read(_PIECE_BYTES):
            target.write(piece)
            await target.drain()
        target.write_eof()
    except OSError:
        target.transport.abort()
