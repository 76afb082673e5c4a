# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins of image registries, as Docker's command line stores them. PRIVATE to the collection."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import _file

CERTIFICATES = "/etc/docker/certs.d"
CONFIG = "~/.docker"
DOCKER_HUB = "docker.io"

LOGIN_ARGUMENTS: dict[str, Any] = {
    "host": {"type": "str", "required": True},
    "user": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "ca": {"type": "str"},
}
FOLDER_ARGUMENTS: dict[str, Any] = {
    "config_dir": {"type": "path", "default": CONFIG},
    "certificates_dir": {"type": "path", "default": CERTIFICATES},
}

CAUSES = (
    (
        r"401|403|unauthorized|incorrect username|authentication required|denied",
        "a refused login",
        "Set user and password",
    ),
    (r"x509|certificate", "a certificate that the host does not trust", "Set ca"),
    (
        r"HTTP response to HTTPS client",
        "a registry without TLS",
        "Give it a certificate, or allow it in the engine's insecure-registries",
    ),
    (
        r"no such host|refused|timeout|unreachable|no route|server misbehaving|EOF",
        "no answer",
        "Check its name, its address and the firewall",
    ),
)


def registry_of(reference: str) -> str:
    """Return the registry that an image reference names."""
    first, slash, _rest = reference.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else DOCKER_HUB


def encoded(user: str, password: str) -> str:
    """Return a login as the command line stores it."""
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def stored(folder: Path, host: str) -> str:
    """Return the login that the command line stores for a registry."""
    try:
        kept = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(((kept.get("auths") or {}).get(host) or {}).get("auth") or "")
    except (FileNotFoundError, ValueError, AttributeError):
        return ""


def engine_header(login: str) -> str:
    """Return the header with which the engine logs in to a registry for one question."""
    user, _colon, password = base64.b64decode(login).decode().partition(":") if login else ("", "", "")
    return base64.urlsafe_b64encode(json.dumps({"username": user, "password": password}).encode()).decode()


def explain(host: str, output: str) -> str:
    """Say in one sentence why a registry took no login."""
    line = (output.strip().splitlines() or ["no message"])[-1].strip()
    found, advice = next(
        ((found, advice) for pattern, found, advice in CAUSES if re.search(pattern, output, re.IGNORECASE)),
        ("an error", "See the engine's own words"),
    )
    return (
        f"registry_login: login on registry {host}: found {found} ({line}), need it accepted. "
        f"{advice} in compose_stack_registries."
    )


def trust(host: str, certificate: str, check_mode: bool, folder: str = CERTIFICATES) -> list[str]:
    """Store the certificate of a registry's authority where the engine looks for it."""
    path = str(Path(folder, host, "ca.crt"))
    text = certificate.strip() + "\n"
    if _file.read_text(path) == text:
        return []
    if not check_mode:
        _file.ensure_folder(str(Path(path).parent), 0o755)
        _file.write_atomic(path, text, 0o644)
    return [f"trusted the authority of {host}"]


def login(run: Callable[..., Any], host: str, user: str, password: str, folder: Path) -> str:
    """Log in; return why the registry refused, or an empty string. The password goes through standard input."""
    rc, stdout, stderr = run(
        "--config", str(folder), "login", "--username", user, "--password-stdin", host, data=password
    )
    if rc != 0:
        return explain(host, stderr or stdout)
    (folder / "config.json").chmod(0o600)
    return ""
