# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and validate the configuration of an instance; report all problems at once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evenkeel_backup.faults import BackupFailure, Failures
from evenkeel_backup.retention import TIERS

SCHEMA = 1
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
ENGINES = ("logical", "physical", "files")
HOOKS = ("before_backup", "after_backup", "stop_app", "start_app", "stop_server", "start_server")

WHERE: dict[str, Any] = {
    "kind": "host",
    "bin_dir": "",
    "user": "postgres",
    "container": "",
    "image": "",
    "docker": "docker",
}
SERVER: dict[str, Any] = {
    "host": "/var/run/postgresql",
    "port": 5432,
    "user": "postgres",
    "password_file": "",
    # A superuser for restores; empty if the account for backups is one.
    "admin_user": "",
    "data_dir": "",
    "maintenance_database": "postgres",
}
REPOSITORY: dict[str, Any] = {
    "name": None,
    "kind": "local",
    "location": None,
    "key_file": None,
    "credentials_file": "",
    "ca_file": "",
    "region": "us-east-1",
    "append_only": False,
    "retention": {"last": 3, "daily": 7, "weekly": 4, "monthly": 6},
}
BUCKET: dict[str, Any] = {
    "name": None,
    "location": None,
    # Empty on a host that only restores, which does not read the bucket.
    "credentials_file": "",
    "ca_file": "",
    "region": "us-east-1",
}
PGBACKREST: dict[str, Any] = {
    "config_file": "",
    "log_path": "",
    "lock_path": "/tmp/pgbackrest",  # noqa: S108 - its own default, used by archive_command too
    "bundle": True,
    "block": True,
}
TOP: dict[str, Any] = {
    "schema": SCHEMA,
    "instance": None,
    "engine": None,
    "where": WHERE,
    "server": SERVER,
    "pgbackrest": PGBACKREST,
    "databases": [],
    "paths": [],
    "buckets": [],
    "exclude": [],
    "jobs": 2,
    "compress": 0,
    "minimum_bytes": 1,
    "canary": True,
    "content_sums": True,
    "tolerance": 0.05,
    "repositories": None,
    "max_age_seconds": 90000,
    "drill_max_age_seconds": 691200,
    "escrow_max_age_seconds": 7776000,
    "escrow_required": True,
    "shrink_ratio": 0.5,
    "hooks": {},
    "hook_timeout_seconds": 300,
    "timeout_seconds": 21600,
    "state_dir": "",
    "work_dir": "",
    "lock_file": "",
    "metrics_file": "",
}


@dataclass(frozen=True)
class Repository:
    """One repository for backups."""

    name: str
    kind: str
    location: str
    key_file: Path
    credentials_file: Path | None
    ca_file: str
    region: str
    append_only: bool
    retention: dict[str, int]
    number: int


@dataclass(frozen=True)
class Bucket:
    """One bucket to back up, with the credentials to read it."""

    name: str
    location: str
    credentials_file: Path | None
    ca_file: str
    region: str


@dataclass(frozen=True)
class Config:
    """Configuration of one instance, with all defaults."""

    instance: str
    engine: str
    where: dict[str, Any]
    server: dict[str, Any]
    pgbackrest: dict[str, Any]
    repositories: tuple[Repository, ...]
    buckets: tuple[Bucket, ...]
    options: dict[str, Any] = field(repr=False)
    state_dir: Path
    work_dir: Path
    lock_file: Path
    metrics_file: Path

    def __getitem__(self, name: str) -> Any:
        return self.options[name]

    def repository(self, name: str) -> Repository:
        """Return the repository with a name; the first one for an empty name."""
        for repository in self.repositories:
            if name in {"", repository.name}:
                return repository
        known = ", ".join(repository.name for repository in self.repositories)
        raise BackupFailure(
            "config_wrong", "no such repository", self.instance, f"'{name}'", f"one of {known}", "Set --repository"
        )


def problems(data: Any, instance: str) -> list[str]:
    """Return all problems of a configuration, each as 'option: found x, need y'. Pure."""
    if not isinstance(data, dict):
        return [f"the file: found {type(data).__name__}, need an object"]
    found = [*_unknown("", data, TOP)]
    for name, shape in (("where", WHERE), ("server", SERVER), ("pgbackrest", PGBACKREST)):
        found += _unknown(f"{name}.", data.get(name, {}), shape)
    if data.get("schema", SCHEMA) != SCHEMA:
        found.append(f"schema: found {data['schema']!r}, need {SCHEMA}")
    if data.get("instance") != instance:
        found.append(f"instance: found {data.get('instance')!r}, need {instance!r} as the file is called")
    elif not NAME.fullmatch(instance):
        found.append(f"instance: found {instance!r}, need lower case letters, digits and dashes")
    engine = data.get("engine")
    if engine not in ENGINES:
        found.append(f"engine: found {engine!r}, need one of {', '.join(ENGINES)}")
    given = data.get("where")
    where = {**WHERE, **(given if isinstance(given, dict) else {})}
    if where["kind"] not in {"host", "container"}:
        found.append(f"where.kind: found {where['kind']!r}, need host or container")
    if where["kind"] == "container" and engine != "files":
        # A host that only restores has no server and no container.
        if not where["image"]:
            found.append("where.image: found nothing, need the name of the server's image")
        if not re.fullmatch(r"\d+(:\d+)?", str(where["user"])):
            found.append(f"where.user: found {where['user']!r}, need the numeric user of the server in its container")
    if engine == "physical" and not (data.get("server") or {}).get("data_dir"):
        found.append("server.data_dir: found nothing, need the server's data folder")
    if engine == "files" and not data.get("paths") and not data.get("buckets"):
        found.append("paths: found none, need the folders to back up, or buckets")
    for path in data.get("paths", []):
        if not str(path).startswith("/"):
            found.append(f"paths: found {path!r}, need absolute paths")
    found += _buckets(data.get("buckets", []), engine)
    found += _hooks(data.get("hooks", {}))
    for key in ("jobs", "minimum_bytes", "max_age_seconds", "drill_max_age_seconds", "timeout_seconds"):
        value = data.get(key, TOP[key])
        # A new bucket may be empty.
        least = 0 if key == "minimum_bytes" else 1
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            found.append(f"{key}: found {value!r}, need a whole number from {least}")
    return found + _repositories(data.get("repositories"), engine)


def _unknown(prefix: str, data: Any, shape: dict[str, Any]) -> list[str]:
    if not isinstance(data, dict):
        return [f"{prefix.rstrip('.')}: found {type(data).__name__}, need an object"]
    return [
        f"{prefix}{key}: found an unknown option, need one of {', '.join(shape)}" for key in data if key not in shape
    ]


def _buckets(data: Any, engine: Any) -> list[str]:
    if not isinstance(data, list):
        return [f"buckets: found {type(data).__name__}, need a list"]
    if data and engine != "files":
        return [f"buckets: found some with engine {engine}, need engine files"]
    found: list[str] = []
    names: set[str] = set()
    for index, entry in enumerate(data):
        at = f"buckets[{index}]"
        found += _unknown(f"{at}.", entry, BUCKET)
        if not isinstance(entry, dict):
            continue
        name, location = str(entry.get("name") or ""), str(entry.get("location") or "")
        if not NAME.fullmatch(name):
            found.append(f"{at}.name: found {name!r}, need lower case letters, digits and dashes")
        if name in names:
            found.append(f"{at}.name: found {name!r} a second time, need a name of its own")
        names.add(name)
        if not s3_parts(location):
            found.append(f"{at}.location: found {location!r}, need s3:https://host:port/bucket/path")
    return found


def _hooks(hooks: Any) -> list[str]:
    found = _unknown("hooks.", hooks, dict.fromkeys(HOOKS))
    for name, commands in hooks.items() if isinstance(hooks, dict) else []:
        good = isinstance(commands, list) and all(
            isinstance(argv, list) and argv and all(isinstance(argument, str) for argument in argv) for argv in commands
        )
        if not good:
            found.append(f"hooks.{name}: found {commands!r}, need a list of commands, each a list of arguments")
    return found


def _repositories(data: Any, engine: Any) -> list[str]:
    if not isinstance(data, list) or not data:
        return ["repositories: found none, need at least one"]
    found: list[str] = []
    names: set[str] = set()
    places: set[str] = set()
    for index, entry in enumerate(data):
        at = f"repositories[{index}]"
        found += _unknown(f"{at}.", entry, REPOSITORY)
        if not isinstance(entry, dict):
            continue
        for key in ("name", "location", "key_file"):
            if not entry.get(key):
                found.append(f"{at}.{key}: found nothing, need a value (copies are always encrypted)")
        if entry.get("name") in names:
            found.append(f"{at}.name: found {entry['name']!r} a second time, need a name of its own")
        if entry.get("location") in places:
            found.append(f"{at}.location: found {entry['location']!r} a second time, need a place of its own")
        names.add(str(entry.get("name")))
        places.add(str(entry.get("location")))
        kind = entry.get("kind", "local")
        location = str(entry.get("location", ""))
        if kind not in {"local", "s3"}:
            found.append(f"{at}.kind: found {kind!r}, need local or s3")
        if kind == "local" and not location.startswith("/"):
            found.append(f"{at}.location: found {location!r}, need an absolute path")
        if kind == "s3":
            if s3_parts(location) is None:
                found.append(f"{at}.location: found {location!r}, need s3:https://<host>[:<port>]/<bucket>[/<path>]")
            elif engine == "physical" and not location.startswith("s3:https://"):
                found.append(f"{at}.location: found a store without TLS, need https for pgBackRest")
            if not entry.get("credentials_file"):
                found.append(f"{at}.credentials_file: found nothing, need the file with the store's credentials")
        tiers = entry.get("retention", REPOSITORY["retention"])
        if not isinstance(tiers, dict) or not tiers or any(tier not in TIERS for tier in tiers):
            found.append(f"{at}.retention: found {tiers!r}, need counts for some of {', '.join(TIERS)}")
        elif any(
            not isinstance(count, int) or isinstance(count, bool) or count < 0 for count in tiers.values()
        ) or not any(tiers.values()):
            found.append(f"{at}.retention: found {tiers!r}, need whole numbers, one of them from 1")
    return found


def s3_parts(location: str) -> tuple[str, int, str, str] | None:
    """Return host, port, bucket and path of s3:https://host:port/bucket/path. Pure."""
    match = re.fullmatch(r"s3:(https?)://([^/:]+)(?::(\d+))?/([^/]+)(/.*)?", location)
    if not match:
        return None
    port = int(match[3] or (443 if match[1] == "https" else 80))
    return match[2], port, match[4], (match[5] or "/").rstrip("/") or "/"


def complete(data: dict[str, Any]) -> Config:
    """Return the configuration with all defaults, from valid data. Pure."""
    options = {**TOP, **data}
    instance = options["instance"]
    repositories = []
    for number, entry in enumerate(options["repositories"], 1):
        full = {**REPOSITORY, **entry}
        credentials = Path(full["credentials_file"]) if full["credentials_file"] else None
        repositories.append(
            Repository(
                **{
                    **full,
                    "key_file": Path(full["key_file"]),
                    "credentials_file": credentials,
                    "retention": dict(full["retention"]),
                    "number": number,
                }
            )
        )
    buckets = []
    for entry in options["buckets"]:
        full = {**BUCKET, **entry}
        credentials = Path(full["credentials_file"]) if full["credentials_file"] else None
        buckets.append(Bucket(**{**full, "credentials_file": credentials}))
    options["hooks"] = {name: options["hooks"].get(name, []) for name in HOOKS}
    pgbackrest = {**PGBACKREST, **options["pgbackrest"]}
    pgbackrest["config_file"] = pgbackrest["config_file"] or f"/etc/evenkeel/backup/{instance}.pgbackrest.conf"
    return Config(
        instance=instance,
        engine=options["engine"],
        where={**WHERE, **options["where"]},
        server={**SERVER, **options["server"]},
        pgbackrest=pgbackrest,
        repositories=tuple(repositories),
        buckets=tuple(buckets),
        options=options,
        state_dir=Path(options["state_dir"] or f"/var/lib/evenkeel/backup/{instance}"),
        work_dir=Path(options["work_dir"] or f"/var/backups/evenkeel/{instance}"),
        lock_file=Path(options["lock_file"] or f"/run/lock/evenkeel-backup-{instance}.lock"),
        metrics_file=Path(
            options["metrics_file"] or f"/var/lib/prometheus/node-exporter/evenkeel_backup_{instance}.prom"
        ),
    )


def load(folder: Path, instance: str) -> Config:
    """Read an instance's file, or raise all its problems."""
    path = folder / f"{instance}.json"

    def refusal(found: str, need: str, remedy: str) -> BackupFailure:
        return BackupFailure("config_wrong", "the configuration is wrong", str(path), found, need, remedy, "config")

    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise refusal("no file", "one for this instance", "Run the role postgres_backup, or see --config-dir") from None
    except (OSError, ValueError) as failure:
        raise refusal(str(failure), "JSON", "Run the role postgres_backup again") from None
    wrong = problems(data, instance)
    if wrong:
        raise Failures(
            [
                BackupFailure(
                    "config_wrong",
                    f"{text.partition(':')[0]} is wrong",
                    str(path),
                    text.partition(": found ")[2].partition(", need ")[0],
                    text.partition(", need ")[2],
                    "Set it in the role postgres_backup",
                    "config",
                )
                for text in wrong
            ]
        )
    return complete(data)
