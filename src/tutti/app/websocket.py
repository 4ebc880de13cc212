"""uvicorn's protocol over websockets, but for how it ends. Loaded by the first client that wants one."""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class WebSocket(WebSocketsSansIOProtocol):
    async def run_asgi(self) -> None:
        """Closing waits until all is sent, which would be for ever where the client reads nothing."""
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()
