#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One replica of a test app: app.py <port> <service> <release>.

It answers with its name and the headers it got, records what it was sent, and can
be slow, stream, speak WebSocket and exit in the middle of a request.
"""

import base64
import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PORT, SERVICE, RELEASE = int(sys.argv[1]), sys.argv[2], sys.argv[3]
SEEN = Path(f"/run/app-{PORT}.posts")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "SecretServer/9"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/readyz":
            broken = Path(f"/run/app-{PORT}.broken").exists()
            return self.answer(503 if broken else 200, b"{}")
        if path.endswith("/slow"):
            time.sleep(float(query or 1))
        if path.endswith("/stream"):
            return self.stream(int(query or 3))
        if self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        about = {
            "service": SERVICE,
            "release": RELEASE,
            "port": PORT,
            "path": self.path,
            "client": self.client_address[0],
            "headers": dict(self.headers.items()),
        }
        return self.answer(200, json.dumps(about).encode())

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        with SEEN.open("a") as seen:
            seen.write(body.decode(errors="replace")[:200] + "\n")
        if self.path.endswith("/die"):
            os._exit(1)
        return self.answer(200, json.dumps({"release": RELEASE, "length": length}).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("X-Powered-By", "molecule")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, seconds: int) -> None:
        """Send one event, be silent, send another."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: first\n\n")
        self.wfile.flush()
        time.sleep(seconds)
        self.wfile.write(b"data: last\n\n")
        self.close_connection = True

    def websocket(self) -> None:
        """Shake hands, then return every byte as it came."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


ThreadingHTTPServer.daemon_threads = True
ThreadingHTTPServer.request_queue_size = 512
ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
