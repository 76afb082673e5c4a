# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configure pgBackRest and parse its output. An exit code of 0 alone is never sufficient."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from evenkeel_backup import command, restic
from evenkeel_backup.config import Config, Repository, s3_parts
from evenkeel_backup.faults import BackupFailure
from evenkeel_backup.job import Job
from evenkeel_backup.where import STORE

BLOCK_SINCE = (2, 46)
KEEP_ALL = 9999999
NOTHING_FOUND = ("unable to load info file", "missing stanza path", "no valid backups")


def render(
    config: Config, keys: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]], version: tuple[int, ...]
) -> str:
    """Return the text of the configuration file, which holds the keys. Pure."""
    options = config.pgbackrest
    lines = [
        "# Written by evenkeel-backup prepare; changes are overwritten.",
        "[global]",
        f"process-max={config['jobs']}",
        "compress-type=zst",
        "start-fast=y",
        "log-level-file=off",
        "log-level-console=off",
        "log-level-stderr=warn",
        f"lock-path={options['lock_path']}",
    ]
    for repository in config.repositories:
        prefix = f"repo{repository.number}"
        lines += [
            f"{prefix}-cipher-type=aes-256-cbc",
            f"{prefix}-cipher-pass={keys[repository.name]}",
            f"{prefix}-retention-full={KEEP_ALL}",
            f"{prefix}-bundle={'y' if options['bundle'] else 'n'}",
        ]
        if options["block"] and options["bundle"] and version >= BLOCK_SINCE:
            lines.append(f"{prefix}-block=y")
        if repository.kind == "local":
            lines.append(f"{prefix}-path={repository.location}")
            continue
        host, port, bucket, path = s3_parts(repository.location) or ("", 443, "", "/")
        secret = secrets[repository.name]
        lines += [
            f"{prefix}-type=s3",
            f"{prefix}-path={path}",
            f"{prefix}-s3-endpoint={host}",
            f"{prefix}-storage-port={port}",
            f"{prefix}-s3-bucket={bucket}",
            f"{prefix}-s3-region={repository.region}",
            f"{prefix}-s3-uri-style=path",
            f"{prefix}-s3-key={secret.get('AWS_ACCESS_KEY_ID', '')}",
            f"{prefix}-s3-key-secret={secret.get('AWS_SECRET_ACCESS_KEY', '')}",
        ]
        if repository.ca_file:
            lines.append(f"{prefix}-storage-ca-file={repository.ca_file}")
    server = config.server
    lines += [
        "",
        f"[{config.instance}]",
        f"pg1-path={server['data_dir']}",
        f"pg1-port={server['port']}",
        f"pg1-user={server['user']}",
        f"pg1-database={server['maintenance_database']}",
    ]
    if str(server["host"]).startswith("/"):
        lines.append(f"pg1-socket-path={server['host']}")
    return "\n".join(lines) + "\n"


def verify_findings(text: str, code: int) -> dict[str, dict[str, int]]:
    """Return the findings of `verify` by backup label or archive id; its exit code is always 0. Pure.

    The key `""` holds everything else: another exit code, no status, an error without a location.
    """
    statuses = re.findall(r"^\s*status: (\w+)", text, re.MULTILINE)
    if code != 0 or not statuses:
        return {"": {"other": 1}}
    found: dict[str, dict[str, int]] = {}
    name = ""
    for line in text.splitlines():
        if match := re.match(r"\s*(?:backup|archiveId): ([\w-]+),(?: status: ([\w-]+),)?", line):
            name = match[1]
            if match[2] not in {None, "valid"}:
                found[name] = {}
        elif counts := re.findall(r"(missing|checksum invalid|size invalid|other): ([1-9]\d*)", line):
            found.setdefault(name, {}).update({kind: int(many) for kind, many in counts})
    if not found and any(status != "ok" for status in statuses):
        return {"": {"other": 1}}
    return found


class PgBackRest:
    """pgBackRest with one configuration file."""

    def __init__(self, job: Job, config_file: Path, *, inside: bool = False) -> None:
        self.job, self.config_file, self.inside = job, config_file, inside

    def run(
        self, *arguments: str, seconds: float = 0, stanza: bool = True, watch: Callable[[], None] | None = None
    ) -> command.Done:
        """Run pgBackRest."""
        name = [f"--stanza={self.job.config.instance}"] if stanza else []
        # Since 2.50, the command version accepts no option.
        argv = list(arguments) if arguments == ("version",) else [f"--config={self.config_file}", *name, *arguments]
        where = self.job.where
        full = where.inside("pgbackrest", *argv) if self.inside else where.argv("pgbackrest", *argv, network=STORE)
        return command.run(full, seconds=seconds or self.job.config["timeout_seconds"], watch=watch)

    def need(self, done: command.Done, what: str, wanted: str, otherwise: str = "failed") -> command.Done:
        """Return the result of a successful call, or raise."""
        return command.need(
            done,
            what,
            self.job.config.instance,
            wanted,
            "Look at the store, its key and the server's log",
            otherwise,
            store=True,
        )

    def version(self) -> tuple[int, ...]:
        """Return its version, or raise with advice if it is missing."""
        done = self.run("version", stanza=False, seconds=60)
        match = re.search(r"pgBackRest (\d+)\.(\d+)", done.out)
        if not match:
            where = self.job.config.where
            place = f"the image {where['image']}" if where["kind"] == "container" else "this host"
            raise BackupFailure(
                "tool_missing",
                "pgBackRest is missing",
                place,
                done.tail,
                "the package pgbackrest",
                "Install it there, or set engine to logical",
                "server",
            )
        return int(match[1]), int(match[2])

    def info(self, repository: Repository) -> dict[str, Any]:
        """Return a repository's info of the stanza. Errors are in its JSON, with an exit code of 0."""
        done = self.run("info", "--output=json", f"--repo={repository.number}", seconds=300)
        self.need(done, "the repository cannot be read", "its list of backups", "store_unreachable")
        # Messages in its JSON have unescaped line breaks.
        entries = json.loads(done.out or "[]", strict=False)
        entry: dict[str, Any] = (
            entries[0] if entries else {"backup": [], "archive": [], "status": {"code": 1, "message": "no stanza"}}
        )
        broken = [
            repo["status"]
            for repo in entry.get("repo", [])
            if repo["key"] == repository.number and repo["status"]["code"] not in {0, 1, 2}
        ]
        if broken or entry["status"]["code"] not in {0, 1, 2, 4}:
            status = (broken or [entry["status"]])[0]
            # An unreadable list means a wrong key, unless the message names another fault.
            self.need(
                command.Done(1, "", f"{status['message']} {done.err}"),
                f"repository {repository.name} does not open",
                "it open with this key",
                "wrong_key",
            )
        return entry

    def listing(self, repository: Repository, path: str) -> dict[str, dict[str, Any]]:
        """List the files below a path of a repository."""
        done = self.run(
            "repo-ls", "--recurse", "--output=json", f"--repo={repository.number}", path, stanza=False, seconds=600
        )
        self.need(done, "the archive cannot be listed", "its list of files", "store_unreachable")
        return {name: entry for name, entry in json.loads(done.out or "{}").items() if entry["type"] == "file"}

    def folders(self, repository: Repository, path: str) -> set[str]:
        """Return the names of the folders at a path of a repository."""
        done = self.run("repo-ls", "--output=json", f"--repo={repository.number}", path, stanza=False, seconds=600)
        self.need(done, "the repository cannot be listed", "its folders", "store_unreachable")
        return {name for name, entry in json.loads(done.out or "{}").items() if entry["type"] == "path"}


def keys_of(config: Config, override: bytes | None, only: str = "") -> dict[str, str]:
    """Return the key of each repository; the external copy replaces the configured key if given."""
    found = {}
    for repository in config.repositories:
        escrow = override is not None and only in {"", repository.name}
        text = (override or b"") if escrow else repository.key_file.read_bytes()
        key = text.decode().strip()
        if len(key.splitlines()) > 1:
            raise BackupFailure(
                "config_wrong",
                "the key has several lines",
                f"repository {repository.name}",
                f"{len(key.splitlines())} lines",
                "one, as pgBackRest reads its key from one line of a file",
                "Set encryption_key to a text of one line",
                "config",
            )
        found[repository.name] = key
    return found


def secrets_of(config: Config) -> dict[str, dict[str, str]]:
    """Return the store credentials of each repository."""
    return {repository.name: restic.credentials(repository) for repository in config.repositories}
