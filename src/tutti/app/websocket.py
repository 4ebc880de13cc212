"""uvicorn's protocol over websockets, but for its ending. The first client that wants a WebSocket loads
it."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocket(WebSocketsSansIOProtocol):
    async def run_asgi(self) -> None:
        """Abort the connection at the end if not all is sent: to wait for that could take for ever, where the
        client reads nothing."""
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()
