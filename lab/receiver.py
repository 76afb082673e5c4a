#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Test receiver of alerts for labs and scenarios: writes each message to a file, as one line of JSON.

Over HTTP (port 9999) it responds like a webhook, Slack, PagerDuty and Telegram; over SMTP (port 2525) it accepts mail
after a login. The first argument is the file.
"""

from __future__ import annotations

import base64
import http.server
import json
import socketserver
import sys
import threading
import time
from pathlib import Path

MESSAGE = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "text": "taken"}


def keep(path: str, body: object) -> None:
    with Path(sys.argv[1]).open("a", encoding="utf-8") as kept:
        kept.write(json.dumps({"at": time.time(), "path": path, "body": body}) + "\n")


class Web(http.server.BaseHTTPRequestHandler):
    """Store each POST; answer 200 to a GET, for probes."""

    def do_GET(self) -> None:
        self.answer(200, "ok\n")

    def do_POST(self) -> None:
        keep(self.path, json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0))))
        if self.path.endswith("/sendMessage"):
            self.answer(200, json.dumps({"ok": True, "result": MESSAGE}))
        elif self.path.endswith("/enqueue"):
            self.answer(202, json.dumps({"status": "success", "message": "taken", "dedup_key": "1"}))
        else:
            # Exactly the body of Slack's API; any other counts as a refusal.
            self.answer(200, "ok")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Mail(socketserver.StreamRequestHandler):
    """A mail server that requires a login, and stores user and text."""

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def hear(self) -> str:
        return self.rfile.readline().decode().rstrip("\r\n")

    def asked(self, what: str) -> str:
        self.say(f"334 {base64.b64encode(what.encode()).decode()}")
        return base64.b64decode(self.hear()).decode()

    def text(self) -> str:
        lines = []
        while (line := self.hear()) != ".":
            lines.append(line)
        return "\n".join(lines)

    def handle(self) -> None:
        user = password = ""
        self.say("220 lab")
        while line := self.hear():
            word = line.split()[0].upper()
            if word == "EHLO":
                self.say("250-lab")
                self.say("250 AUTH LOGIN")
            elif word == "AUTH":
                user, password = self.asked("Username:"), self.asked("Password:")
                self.say("235 welcome")
            elif word == "DATA":
                self.say("354 go on")
                keep("/mail", {"user": user, "password": password, "text": self.text()})
                self.say("250 kept")
            elif word == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")


class Post(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


threading.Thread(target=Post(("", 2525), Mail).serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", 9999), Web).serve_forever()
