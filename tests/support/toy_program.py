"""A program that serves nothing but its health and its progress, and does what is written into a file:
`busy`, `idle`, or `hang`. Run as `python -I toy_program.py PORT FILE`."""

import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        doing = Path(sys.argv[2]).read_text()
        while doing == "hang":
            time.sleep(0.05)
            doing = Path(sys.argv[2]).read_text()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(doing.encode())

    def log_message(self, format: str, *args: object) -> None: ...


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
