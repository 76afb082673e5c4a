#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A webhook: keeps each request it gets as one line of JSON, and answers 200."""

from __future__ import annotations

import http.server
import json
import sys
import time
from pathlib import Path


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with Path(sys.argv[1]).open("a", encoding="utf-8") as kept:
            kept.write(json.dumps({"at": time.time(), "path": self.path, "body": json.loads(body)}) + "\n")
        self.answer()

    def answer(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


http.server.ThreadingHTTPServer(("", 9999), Handler).serve_forever()
