# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Changes of a stack that lose data without an error. PRIVATE to the collection.

Pure functions over the facts that each release keeps of its services.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

# The engine by the last part of its image's name; the first match counts.
ENGINES = (
    ("postgres", ("postgres", "postgresql", "postgis", "timescaledb", "pgvector", "supabase-postgres")),
    ("mariadb", ("mariadb",)),
    ("mysql", ("mysql", "percona", "percona-server")),
    ("mongo", ("mongo", "mongodb", "mongodb-community-server")),
    ("redis", ("redis", "redis-stack", "redis-stack-server")),
    ("valkey", ("valkey",)),
    ("elasticsearch", ("elasticsearch",)),
    ("opensearch", ("opensearch",)),
    ("clickhouse", ("clickhouse", "clickhouse-server")),
    ("cassandra", ("cassandra",)),
    ("rabbitmq", ("rabbitmq",)),
)

# What the images of these engines say of themselves.
VERSION_VARIABLES = {
    "PG_MAJOR": "postgres",
    "PG_VERSION": "postgres",
    "POSTGRESQL_VERSION": "postgres",
    "MARIADB_VERSION": "mariadb",
    "MYSQL_MAJOR": "mysql",
    "MYSQL_VERSION": "mysql",
    "MONGO_MAJOR": "mongo",
    "MONGO_VERSION": "mongo",
    "REDIS_VERSION": "redis",
    "VALKEY_VERSION": "valkey",
    "RABBITMQ_VERSION": "rabbitmq",
}


class Danger(NamedTuple):
    """One change that must be typed before it is made."""

    token: str
    text: str

    def sentence(self, stack: str) -> str:
        """Say what was found and what to type."""
        return f"compose_release: {self.text.format(stack=stack)} Type {self.token} in compose_stack_allow to go on."


def major(version: str) -> int | None:
    """Return the first number of a version, of a tag or of what stands in PG_VERSION."""
    match = re.search(r"(?:^|[^0-9.])v?(\d+)(?:[.\-_]|$)", version) or re.match(r"(\d+)", version)
    return int(match.group(1)) if match else None


def engine_of(repository: str) -> str | None:
    """Return the database engine an image's name stands for."""
    last = repository.rstrip("/").rpartition("/")[2].lower()
    for engine, names in ENGINES:
        if last in names:
            return engine
    return None


def database(
    repository: str, tag: str, environment: Iterable[str] = (), labels: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """Return engine and major version of a database image, or nothing."""
    values = dict(entry.partition("=")[::2] for entry in environment)
    engine = engine_of(repository)
    for variable, owner in VERSION_VARIABLES.items():
        if variable in values and engine in (None, owner):
            number = major(values[variable])
            if number is not None:
                return {"engine": owner, "major": number}
    if engine is None:
        return None
    label = (labels or {}).get("org.opencontainers.image.version") or ""
    for version in (label, tag):
        number = major(version) if version else None
        if number is not None:
            return {"engine": engine, "major": number}
    return {"engine": engine, "major": None}


def mounts(service: dict[str, Any], volumes: dict[str, Any]) -> list[dict[str, str]]:
    """Return the mounts of a normalised service that hold data, volumes by their real name."""
    found = []
    for mount in service.get("volumes") or []:
        source = str(mount.get("source") or "")
        if not source or mount.get("type") not in ("volume", "bind"):
            continue
        real = source
        if mount["type"] == "volume":
            real = str((volumes.get(source) or {}).get("name") or source)
        elif mount.get("read_only"):
            continue
        found.append({"type": mount["type"], "key": source, "name": real, "target": str(mount.get("target") or "")})
    return found


def _new_place(mount: dict[str, str], now: list[dict[str, str]]) -> str:
    """Say where a volume is mounted now; nothing if it is where it was."""
    target = mount["target"].rstrip("/")
    here = [other["target"] for other in now if other["name"] == mount["name"]]
    if target in [other.rstrip("/") for other in here]:
        return ""
    if here:
        return here[0]
    instead = [other["name"] for other in now if other["target"].rstrip("/") == target]
    return f"{instead[0]} in its place" if instead else "no mount of it"


def _volume_dangers(name: str, old: dict[str, Any], new: dict[str, Any]) -> list[Danger]:
    found = []
    for mount in old.get("mounts") or []:
        place = _new_place(mount, new.get("mounts") or []) if mount["type"] == "volume" else ""
        if place:
            text = (
                f"target of volume {mount['name']} on service {name} of stack {{stack}}: found {place}, need "
                f"{mount['target']} as in the running release, or the service starts without its data."
            )
            found.append(Danger(f"volume-target:{name}/{mount['key']}", text))
    return found


def _database_dangers(name: str, held: dict[str, Any], new: dict[str, Any]) -> list[Danger]:
    wanted = new.get("database") or {}
    if not held or not wanted or not new.get("mounts"):
        return []
    same_engine = held["engine"] == wanted["engine"]
    if same_engine and (held["major"] == wanted["major"] or None in (held["major"], wanted["major"])):
        return []
    text = (
        f"database version on service {name} of stack {{stack}}: found {wanted['engine']} {wanted['major']}, need "
        f"{held['engine']} {held['major']}, which wrote its data. Dump and load, or upgrade the data first."
    )
    return [Danger(f"database-major:{name}", text)]


def dangers(
    before: dict[str, dict[str, Any]],
    after: dict[str, dict[str, Any]],
    on_disk: dict[str, dict[str, Any]] | None = None,
) -> list[Danger]:
    """Compare the services of two releases.

    Each service has ``mounts`` and ``database``. *on_disk* is what the data of a service
    itself says, which counts more than the release before.
    """
    found = []
    for name, service in sorted(after.items()):
        old = before.get(name) or {}
        found += _volume_dangers(name, old, service)
        found += _database_dangers(name, (on_disk or {}).get(name) or old.get("database") or {}, service)
    return found
