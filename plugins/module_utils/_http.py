# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One HTTP request to a chosen address, with the Host and SNI of the public name."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import ssl
import typing as t
import urllib.parse

from ansible_collections.evenkeel.platform.plugins.module_utils import _http2

# No more than the flow control of HTTP/2 lets a server send unasked.
BODY_LIMIT = 65535
PORTS = {"http": "80", "https": "443"}


@dataclasses.dataclass(frozen=True)
class Answer:
    """Status 0 means that there was no answer; C(error) says why."""

    status: int
    body: str
    error: str
    refused: bool = False

    def brief(self) -> str:
        if self.status == 0:
            return self.error
        return f"{self.status} {self.body[:120]!r}"


def split_address(text: str, port: int) -> tuple[str, int]:
    """Return host and port of C(address), C(address:port) or C([v6]:port)."""
    if text.startswith("["):
        host, _sep, rest = text[1:].partition("]")
        return host, int(rest.lstrip(":") or port)
    if text.count(":") == 1:
        host, _sep, number = text.partition(":")
        return host, int(number)
    return text, port


def _context(ca_file: str, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file or None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def get(
    url: str,
    *,
    host: str = "",
    connect_to: str = "",
    ca_file: str = "",
    verify: bool = True,
    timeout: float = 2.0,
    proto: str = "",
    protocol: str = "http1",
) -> Answer:
    """Send one GET on a new connection and never follow a redirect.

    *proto* is what a proxy would say of the client in X-Forwarded-Proto. With *protocol* C(h2) the request goes over
    HTTP/2 without TLS; with C(grpc) it is a gRPC health check, whose answer is 200 for SERVING and 503 for all else.
    """
    parts = urllib.parse.urlsplit(url)
    secure = parts.scheme == "https"
    name = host or parts.hostname or ""
    address, port = split_address(
        connect_to or (f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""),
        parts.port or (443 if secure else 80),
    )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": "evenkeel", "Accept": "*/*"}
    if proto:
        headers |= {"X-Forwarded-Proto": proto, "X-Forwarded-Host": name, "X-Forwarded-Port": PORTS[proto]}
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        stream: socket.socket = socket.create_connection((address, port), timeout)
        if secure:
            stream = _context(ca_file, verify).wrap_socket(stream, server_hostname=split_address(name, port)[0])
        connection.sock = stream
        if protocol == "grpc":
            found = _over_http2(stream, _http2.grpc_health_request(name))
            if found.body == _http2.GRPC_SERVING:
                return Answer(200, "SERVING", "")
            return Answer(503, f"status {found.status}, message {found.body[:40]!r} instead of SERVING", "")
        if protocol == "h2":
            found = _over_http2(stream, _http2.request("GET", name, path, headers))
            return Answer(found.status, found.body.decode("utf-8", "replace"), "")
        connection.request("GET", path, headers={"Host": name, **headers, "Connection": "close"})
        response = connection.getresponse()
        body = response.read(BODY_LIMIT).decode("utf-8", "replace")
        return Answer(response.status, body, "")
    except ConnectionRefusedError:
        return Answer(0, "", "connection refused", refused=True)
    except TimeoutError:
        return Answer(0, "", f"no answer within {timeout:g} s")
    except (OSError, http.client.HTTPException, ValueError) as exc:
        return Answer(0, "", f"{type(exc).__name__}: {exc}")
    finally:
        connection.close()


def _over_http2(stream: socket.socket, request: bytes) -> _http2.Answer:
    answer = _http2.Answer()
    stream.sendall(request)
    while not answer.ended and len(answer.body) < BODY_LIMIT:
        data = stream.recv(BODY_LIMIT)
        if not data:
            raise ConnectionError("the server closed the connection before the end of its answer")
        reply = answer.feed(data)
        if reply:
            stream.sendall(reply)
    return answer


def problem(
    answer: Answer, *, status: int = 200, body: str = "", release: str = "", release_key: str = "release"
) -> str:
    """Return why an answer is not the wanted one, or an empty string."""
    if answer.status == 0:
        return answer.error
    if answer.status != status:
        return f"status {answer.status} instead of {status}"
    if body and body not in answer.body:
        return f"the body lacks {body!r}"
    if release:
        found: t.Any = None
        try:
            parsed = json.loads(answer.body)
            found = parsed.get(release_key) if isinstance(parsed, dict) else None
        except ValueError:
            return f"the body is not JSON, so {release_key} cannot be read"
        if str(found) != release:
            return f"{release_key} is {found!r} instead of {release!r}"
    return ""
