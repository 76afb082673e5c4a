# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object store as a process of this machine, with a connection that can be cut.

The program is versitygw, which `make lab` builds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

BUCKET, ACCESS, SECRET = "backups", "measured", "store-secret-of-one-run"
PROGRAM = Path(__file__).resolve().parent.parent / ".cache" / "bin" / "versitygw"
CHUNK = 65536


def program() -> str:
    """Return the path of the store's program; empty without one."""
    return str(PROGRAM) if PROGRAM.exists() else shutil.which("versitygw") or ""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Store:
    """An S3 store with TLS over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "store"
        (self.folder / "data" / BUCKET).mkdir(parents=True)
        self.port = free_port()
        self.certificate, self.key = folder / "store.pem", folder / "store.key.pem"
        self.process: subprocess.Popen[bytes] | None = None
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        files = ["-keyout", str(self.key), "-out", str(self.certificate)]
        subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
        self.certificate.chmod(0o644)

    def credentials(self, name: str, secret: str = SECRET) -> Path:
        path = self.folder / name
        path.write_text(f"AWS_ACCESS_KEY_ID={ACCESS}\nAWS_SECRET_ACCESS_KEY={secret}\n")
        path.chmod(0o600)
        return path

    def __enter__(self) -> Store:
        argv = [program(), "--port", f"127.0.0.1:{self.port}", "--cert", str(self.certificate), "--key", str(self.key)]
        self.process = subprocess.Popen(
            [*argv, "--quiet", "posix", str(self.folder / "data")],
            env={**os.environ, "ROOT_ACCESS_KEY": ACCESS, "ROOT_SECRET_KEY": SECRET},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for _attempt in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.1)
        self.__exit__(None, None, None)
        raise OSError("the store does not answer")

    def __exit__(
        self, _kind: type[BaseException] | None, _why: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)


class Relay:
    """A TCP relay that stops after a number of bytes, like an unreachable store."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.left: int | None = None
        self.lock = threading.Lock()
        self.open: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, count: int) -> None:
        """Let a number of further bytes pass."""
        with self.lock:
            self.left = count

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
                store = socket.create_connection(("127.0.0.1", self.target), 10)
            except OSError:
                return
            with self.lock:
                self.open |= {client, store}
            for pair, counted in (((client, store), True), ((store, client), False)):
                threading.Thread(target=self._pump, args=(*pair, counted), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                with self.lock:
                    if counted and self.left is not None:
                        self.left -= len(data)
                    spent = self.left is not None and self.left < 0
                if spent:
                    self.close()
                    return
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop answering."""
        with contextlib.suppress(OSError):
            # Otherwise the accepting thread would accept one more connection.
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for one in self.open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
            self.open.clear()
