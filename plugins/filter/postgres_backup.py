# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filters that turn the options of the postgres_backup role into what evenkeel-backup and systemd read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

CONFIG_DIR = "/etc/evenkeel/backup"
# Files for the server's user; all others in the folder belong to root.
SERVER_DIR = f"{CONFIG_DIR}/server"
STATE_DIR = "/var/lib/evenkeel/backup"
# Role without login that owns the canary.
CANARY_ROLE = "evenkeel_backup"
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
DEBIAN_BIN = re.compile(r"/usr/lib/postgresql/(\d+)/bin/?")
S3_LOCATION = re.compile(r"s3:https?://[^/:]+(?::\d+)?/[^/]+(?:/.*)?")
PASSED = (
    *("databases", "paths", "exclude", "jobs", "compress", "minimum_bytes", "canary", "content_sums", "tolerance"),
    *("max_age_seconds", "drill_max_age_seconds", "shrink_ratio", "escrow_max_age_seconds", "escrow_required", "hooks"),
    *("hook_timeout_seconds", "timeout_seconds", "work_dir"),
)
SCHEDULES: dict[str, list[dict[str, Any]]] = {
    "logical": [{"verb": "backup", "calendar": "*-*-* 02:00:00"}],
    "physical": [
        {"verb": "backup", "type": "full", "calendar": "Sun *-*-* 02:00:00"},
        {"verb": "backup", "type": "diff", "calendar": "Mon..Sat *-*-* 02:00:00"},
        {"verb": "backup", "type": "incr", "calendar": "*-*-* 08,14,20:00:00"},
    ],
    "files": [{"verb": "backup", "calendar": "*-*-* 03:00:00"}],
}
VERIFY = {"verb": "verify", "calendar": "Wed *-*-* 04:00:00", "read_data": True}
DRILL_CALENDAR = "Sun *-*-* 06:00:00"
TYPES = ("full", "diff", "incr")


def _repositories(instance: dict[str, Any], drill: bool) -> list[dict[str, Any]]:
    """Return the repositories that a host can use, without folders of other hosts."""
    found = instance.get("repositories") or []
    return [entry for entry in found if not (drill and entry.get("kind", "local") == "local")]


def postgres_backup_config(
    instance: dict[str, Any], metrics_dir: str, image: str = "", drill: bool = False
) -> dict[str, Any]:
    """Return the configuration of an instance; it names files and contains no secret."""
    name, engine = instance["name"], instance["engine"]
    config: dict[str, Any] = {"schema": 1, "instance": name, "engine": engine}
    where = _given(instance.get("where"), ("kind", "container", "image", "user", "bin_dir", "docker"))
    if image:
        where["image"] = image
    if where:
        config["where"] = where
    server = instance.get("server") or {}
    if engine != "files":
        config["server"] = _given(server, ("host", "port", "user", "data_dir", "maintenance_database"))
        if server.get("admin_user") and not drill:
            config["server"]["admin_user"] = server["admin_user"]
        if server.get("password") and not drill:
            config["server"]["password_file"] = f"{CONFIG_DIR}/{name}.pgpass"
    if engine == "physical":
        config["pgbackrest"] = {"config_file": f"{SERVER_DIR}/{name}.conf", **(instance.get("pgbackrest") or {})}
    config |= _given(instance, PASSED)
    config |= {"buckets": [_bucket(name, entry, drill) for entry in instance["buckets"]]} if _buckets(instance) else {}
    if drill:
        # These hooks run on the live host.
        config.pop("hooks", None)
    config["repositories"] = [_repository(name, entry) for entry in _repositories(instance, drill)]
    config["metrics_file"] = f"{metrics_dir}/evenkeel_backup_{name}.prom"
    return config


def _buckets(instance: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the buckets that an instance backs up."""
    return instance.get("buckets") or []


def _bucket(name: str, entry: dict[str, Any], drill: bool) -> dict[str, Any]:
    """Return one bucket; without credentials for drills, which read only copies."""
    config = _given(entry, ("name", "location", "region"))
    if not drill:
        config["credentials_file"] = f"{CONFIG_DIR}/{name}-bucket-{entry['name']}.s3"
        if entry.get("ca"):
            config["ca_file"] = f"{SERVER_DIR}/{name}-bucket-{entry['name']}.crt"
    return config


def _credentials(path: str, entry: dict[str, Any]) -> dict[str, str]:
    """Return the content of a file with a store's user and secret."""
    text = (
        f"AWS_ACCESS_KEY_ID={entry.get('access_key_id', '')}\n"
        f"AWS_SECRET_ACCESS_KEY={entry.get('secret_access_key', '')}\n"
    )
    return {"path": path, "secret_content": text, "mode": "0400"}


def _given(options: dict[str, Any] | None, keys: Iterable[str]) -> dict[str, Any]:
    return {key: (options or {})[key] for key in keys if (options or {}).get(key) not in (None, "", [], {})}


def _repository(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    config = _given(entry, ("name", "kind", "location", "region", "append_only", "retention"))
    config["key_file"] = f"{CONFIG_DIR}/{name}.key"
    if entry.get("kind") == "s3":
        config["credentials_file"] = f"{CONFIG_DIR}/{name}-{entry['name']}.s3"
    if entry.get("ca"):
        config["ca_file"] = f"{SERVER_DIR}/{name}-{entry['name']}.crt"
    return config


def postgres_backup_secrets(instances: list[dict[str, Any]], drill: bool = False) -> list[dict[str, str]]:
    """Return the files with the secrets of the instances.

    A host with drills gets the external copy of the key, so that each drill verifies that copy.
    """
    files = []
    for instance in instances:
        name = instance["name"]
        server = instance.get("server") or {}
        key = (instance.get("escrow_key") if drill else "") or instance.get("encryption_key") or ""
        files.append({"path": f"{CONFIG_DIR}/{name}.key", "secret_content": f"{key}\n", "mode": "0400"})
        if server.get("password") and not drill:
            password = re.sub(r"([\\:])", r"\\\1", server["password"])
            line = f"*:*:*:*:{password}\n"
            files.append({"path": f"{CONFIG_DIR}/{name}.pgpass", "secret_content": line, "mode": "0400"})
        for entry in _repositories(instance, drill):
            if entry.get("kind") == "s3":
                files.append(_credentials(f"{CONFIG_DIR}/{name}-{entry['name']}.s3", entry))
        for entry in [] if drill else _buckets(instance):
            files.append(_credentials(f"{CONFIG_DIR}/{name}-bucket-{entry['name']}.s3", entry))
    return files


def postgres_backup_certificates(instances: list[dict[str, Any]], drill: bool = False) -> list[dict[str, str]]:
    """Return the files with the certificate authorities of the stores."""
    return [
        {"path": f"{SERVER_DIR}/{instance['name']}-{part}{entry['name']}.crt", "content": entry["ca"].strip() + "\n"}
        for instance in instances
        for part, entries in (("", _repositories(instance, drill)), ("bucket-", [] if drill else _buckets(instance)))
        for entry in entries
        if entry.get("ca")
    ]


def postgres_backup_units(instances: list[dict[str, Any]], drills: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a service and a timer for each scheduled job."""
    units = []
    for instance in instances:
        name = instance["name"]
        for schedule in instance.get("schedules") or [*SCHEDULES[instance["engine"]], VERIFY]:
            kind = schedule.get("type") or ""
            arguments = [schedule["verb"], name, *([f"--type={kind}"] if kind else [])]
            arguments += ["--read-data"] if schedule.get("read_data") else []
            units.append(_unit(name, kind or schedule["verb"], arguments, schedule["calendar"]))
        if instance["engine"] != "files":
            units.append(_unit(name, "metrics", ["metrics", name], "*-*-* *:*:00", jitter=False))
        if instance["engine"] != "files" or _buckets(instance):
            # Only where something can be restored in place; it runs only while a journal exists.
            condition = f"{STATE_DIR}/{name}/exchange.json"
            units.append(_unit(name, "settle", ["settle", name], "*-*-* *:*:30", jitter=False, condition=condition))
    for drill in drills:
        name, wished = drill["name"], drill.get("drill") or {}
        arguments = ["drill", name, f"--key-file={CONFIG_DIR}/{name}.key"]
        arguments += [f"--repository={wished['repository']}"] if wished.get("repository") else []
        units.append(_unit(name, "drill", arguments, wished.get("calendar") or DRILL_CALENDAR))
    return units


def _unit(
    name: str, job: str, arguments: list[str], calendar: str, jitter: bool = True, condition: str = ""
) -> dict[str, Any]:
    """Return a unit; one with a condition runs only while that file exists, whatever is scheduled."""
    return {
        "name": f"evenkeel-backup-{name}-{job}",
        "instance": name,
        "arguments": arguments,
        "calendar": calendar,
        "jitter": jitter,
        "condition": condition,
        "description": f"{job} of backup instance {name}",
    }


def postgres_backup_packages(instances: list[dict[str, Any]], drills: list[dict[str, Any]]) -> list[str]:
    """Return the packages of the programs; images contain their own."""
    packages = set()
    for instance, drill in [*((one, False) for one in instances), *((one, True) for one in drills)]:
        where = instance.get("where") or {}
        engine = instance["engine"]
        if engine in {"logical", "files"}:
            packages.add("restic")
        if _buckets(instance) and not drill:
            packages.add("rclone")
        if engine == "files" or where.get("kind", "host") == "container":
            continue
        if engine == "physical":
            packages.add("pgbackrest")
        major = DEBIAN_BIN.fullmatch(where.get("bin_dir") or "")
        if major:
            packages.add(f"postgresql-{major[1]}" if drill else f"postgresql-client-{major[1]}")
    return sorted(packages)


def postgres_backup_problems(instances: list[dict[str, Any]], drills: list[dict[str, Any]]) -> list[str]:
    """Return one sentence for each instance that is invalid or contradicts itself or another one."""
    problems = []
    for option, entries in (("postgres_backup_instances", instances), ("postgres_backup_drills", drills)):
        names = [entry["name"] for entry in entries]
        for name in sorted({name for name in names if names.count(name) > 1}):
            problems.append(
                f"postgres_backup: name of instance {name}: found it {names.count(name)} times, need it once. "
                f"Rename one in {option}."
            )
        for entry in entries:
            problems += [
                f"postgres_backup: {what} of instance {entry['name']}: found {found}, need {need}. {advice}."
                for what, found, need, advice in _problems_of(entry, drill=option.endswith("drills"))
            ]
    for name in sorted({entry["name"] for entry in instances} & {entry["name"] for entry in drills}):
        problems.append(
            f"postgres_backup: drill host of instance {name}: found the host that holds the live data, need one that "
            "never did. Set postgres_backup_drills on another host."
        )
    return problems


Problem = tuple[str, str, str, str]


def _problems_of(instance: dict[str, Any], drill: bool) -> Iterator[Problem]:
    engine, where, server = instance["engine"], instance.get("where") or {}, instance.get("server") or {}
    container = where.get("kind", "host") == "container"
    if not NAME.fullmatch(instance["name"]):
        yield "name", instance["name"], "a-z, 0-9 and -, from a letter, 40 at most", "Set name"
    if not str(instance.get("encryption_key") or "").strip():
        yield "encryption_key", "none", "one, as every copy is encrypted", "Set encryption_key"
    lines = len(str(instance.get("encryption_key") or "").strip().splitlines())
    if engine == "physical" and lines > 1:
        yield "encryption_key", f"{lines} lines", "one, as pgBackRest reads it from one line", "Set encryption_key"
    escrow = instance.get("escrow_key") or ""
    if not drill and escrow and str(escrow).strip() != str(instance.get("encryption_key") or "").strip():
        yield (
            "escrow_key",
            "another key than encryption_key",
            "a copy of it",
            "Put the key in use where the copy is kept",
        )
    if engine == "files":
        if not instance.get("paths") and not _buckets(instance):
            yield "paths", "none", "the folders to back up, or buckets", "Set paths or buckets"
    else:
        yield from _server_problems(engine, where, server, container, drill)
    yield from _bucket_problems(instance, engine, drill)
    yield from _repository_problems(instance, engine, drill)
    for schedule in instance.get("schedules") or []:
        kind = schedule.get("type") or ""
        if kind and (engine != "physical" or schedule["verb"] != "backup"):
            yield (
                "schedules",
                f"type {kind} for {schedule['verb']} with engine {engine}",
                "it for backup with engine physical",
                "Leave type out",
            )
    jobs = [(schedule.get("type") or schedule["verb"]) for schedule in instance.get("schedules") or []]
    for job in sorted({job for job in jobs if jobs.count(job) > 1}):
        yield "schedules", f"{jobs.count(job)} for {job}", "one, as a calendar takes a list", "Join their calendars"


def _server_problems(
    engine: str, where: dict[str, Any], server: dict[str, Any], container: bool, drill: bool
) -> Iterator[Problem]:
    if container:
        if not where.get("container") and not drill:
            yield "where.container", "none", "the name of the server's container", "Set where.container"
        if not where.get("image") and drill:
            yield "where.image", "none", "the server's image", "Set where.image"
        if not re.fullmatch(r"\d+(:\d+)?", str(where.get("user") or "")):
            yield (
                "where.user",
                str(where.get("user") or "none"),
                "the numeric user and group of the server in its container, such as 999:999",
                "Set where.user",
            )
    elif drill and not DEBIAN_BIN.fullmatch(where.get("bin_dir") or ""):
        yield (
            "where.bin_dir",
            where.get("bin_dir") or "none",
            "the programs of the server's major version",
            "Set where.bin_dir, for example /usr/lib/postgresql/17/bin",
        )
    if engine == "physical" and not server.get("data_dir"):
        yield "server.data_dir", "none", "the server's data folder", "Set server.data_dir"
    if server.get("admin_user") and not server.get("password"):
        yield "server.password", "none", "one for the role that is made", "Set server.password, or leave admin_user out"
    if server.get("admin_user") and server.get("user") == CANARY_ROLE:
        yield "server.user", CANARY_ROLE, "another name, as all accounts for backups share this role", "Set server.user"
    if server.get("admin_user") and server.get("admin_user") == server.get("user", "postgres"):
        yield "server.user", server["admin_user"], "a role other than admin_user", "Set server.user"


def _bucket_problems(instance: dict[str, Any], engine: str, drill: bool) -> Iterator[Problem]:
    buckets = _buckets(instance)
    if buckets and engine != "files":
        yield "buckets", f"some with engine {engine}", "engine files", "Make an instance of their own for them"
    names = [entry["name"] for entry in buckets]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "buckets", f"{name} {names.count(name)} times", "a name of its own for each", "Rename one"
    # A repository inside a backed-up folder would grow without end, and be lost with it.
    places = {str(entry.get("location") or "").rstrip("/") for entry in _repositories(instance, False)}
    for entry in buckets:
        at, location = f"bucket {entry['name']}", str(entry.get("location") or "")
        if not NAME.fullmatch(entry["name"]):
            yield f"{at}, name", entry["name"], "a-z, 0-9 and -, from a letter", "Rename it"
        if not S3_LOCATION.fullmatch(location):
            yield f"{at}, location", location or "none", "s3:https://<host>[:<port>]/<bucket>[/<path>]", "Set location"
        for place in sorted(place for place in places if f"{place}/".startswith(location.rstrip("/") + "/")):
            yield (
                f"{at}, location",
                f"repository {place} within it",
                "copies elsewhere",
                "Use another bucket for copies",
            )
        for key in ("access_key_id", "secret_access_key"):
            if not entry.get(key) and not drill:
                yield f"{at}, {key}", "none", "the credentials that reach it", f"Set {key}"


def _repository_problems(instance: dict[str, Any], engine: str, drill: bool) -> Iterator[Problem]:
    repositories = _repositories(instance, drill)
    if not repositories:
        found = "only folders of the live host" if instance.get("repositories") else "none"
        need = "one that this host reaches" if drill else "at least one"
        yield "repositories", found, need, "Add one with kind s3" if drill else "Set repositories"
    names = [entry["name"] for entry in repositories]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield "repositories", f"{name} {names.count(name)} times", "a name of its own for each", "Rename one"
    wished = (instance.get("drill") or {}).get("repository") or ""
    if drill and wished and repositories and wished not in names:
        yield "drill.repository", wished, f"one of {', '.join(names)}", "Set drill.repository"
    for entry in repositories:
        at, location = f"repository {entry['name']}", str(entry.get("location") or "")
        if not NAME.fullmatch(entry["name"]):
            yield f"{at}, name", entry["name"], "a-z, 0-9 and -, from a letter", "Rename it"
        if entry.get("kind", "local") == "local":
            if not location.startswith("/"):
                yield f"{at}, location", location or "none", "an absolute path", "Set location"
            continue
        if not S3_LOCATION.fullmatch(location):
            yield f"{at}, location", location or "none", "s3:https://<host>[:<port>]/<bucket>[/<path>]", "Set location"
        elif engine == "physical" and not location.startswith("s3:https://"):
            yield f"{at}, location", "a store without TLS", "https, as pgBackRest speaks nothing else", "Set location"
        for key in ("access_key_id", "secret_access_key"):
            if not entry.get(key):
                yield f"{at}, {key}", "none", "the store's credentials", f"Set {key}"


class FilterModule:
    """Jinja filters over backup instances."""

    def filters(self) -> dict[str, Any]:
        return {
            "postgres_backup_certificates": postgres_backup_certificates,
            "postgres_backup_config": postgres_backup_config,
            "postgres_backup_packages": postgres_backup_packages,
            "postgres_backup_problems": postgres_backup_problems,
            "postgres_backup_secrets": postgres_backup_secrets,
            "postgres_backup_units": postgres_backup_units,
        }
