# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""What becomes of every key of a Compose file: kept, mapped to something of ours, or refused with the reason.

docs/reference/compose.md is generated from C(TABLE), and a contract test walks Compose's own schema over it.
"""

from __future__ import annotations

import difflib
import typing as t

KEPT, MAPPED, REFUSED = "kept", "mapped", "refused"


class Key(t.NamedTuple):
    """What becomes of one key; C(note) is where it goes, or for a refused one the reason and then what to do."""

    verdict: str
    note: str = ""
    todo: str = ""


def _kept(*names: str) -> dict[str, Key]:
    return dict.fromkeys(names, Key(KEPT))


def _mapped(**notes: str) -> dict[str, Key]:
    return {name: Key(MAPPED, note) for name, note in notes.items()}


def _refused(**reasons: tuple[str, str]) -> dict[str, Key]:
    return {name: Key(REFUSED, *reason) for name, reason in reasons.items()}


TOP: dict[str, Key] = {
    **_mapped(
        name="left out: the app's name is that of the inventory",
        version="left out, as Compose itself ignores it",
        services="the services of the release, by their kind",
        networks="one network of the app and colour for each",
        volumes="one volume of the app for each, shared by both colours",
        configs="a file that travels with the release, or its content",
        secrets="a file below /run/secrets with the value of the item's secrets",
    ),
    **_refused(
        include=("an app is the files that compose names", "List the included file in compose"),
        models=("an app has containers alone", "Remove it"),
    ),
}

SERVICE: dict[str, Key] = {
    **_kept(
        "annotations",
        "blkio_config",
        "cap_add",
        "cap_drop",
        "cgroup",
        "cgroup_parent",
        "command",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "cpuset",
        "device_cgroup_rules",
        "devices",
        "dns",
        "dns_opt",
        "dns_search",
        "domainname",
        "entrypoint",
        "expose",
        "extra_hosts",
        "gpus",
        "group_add",
        "healthcheck",
        "hostname",
        "image",
        "init",
        "ipc",
        "isolation",
        "labels",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "oom_kill_disable",
        "oom_score_adj",
        "pid",
        "pids_limit",
        "platform",
        "post_start",
        "pre_stop",
        "privileged",
        "read_only",
        "runtime",
        "security_opt",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "stop_signal",
        "storage_opt",
        "sysctls",
        "tmpfs",
        "tty",
        "ulimits",
        "user",
        "userns_mode",
        "uts",
        "working_dir",
    ),
    **_mapped(
        attach="left out, as nobody watches a release start",
        build="left out: the image is pulled, and needs a name",
        configs="a file that travels with the release, mounted read-only",
        container_name="refused for what runs in both colours, else <app>.<service>",
        depends_on="the order inside a colour; what is waited for to its end is of kind once",
        deploy="see below",
        develop="left out, as it is for a laptop",
        env_file="read with the file, part of environment",
        environment="kept, without what has no value",
        extends="read by Compose; x-evenkeel of the extended service is not",
        label_file="read with the file, part of labels",
        links="left out where it names a service, which answers to its name anyway",
        logging="kept; without it json-file, 3 files of 10 MB",
        networks="those of the app and colour, with the aliases as written and the service's name",
        ports="left out with a route: the edge comes to a port of the app's range",
        pull_policy="left out: a release is pulled by digest",
        restart="kept; without it unless-stopped",
        scale="replicas of x-evenkeel",
        secrets="a file below /run/secrets with the value of the item's secrets",
        volumes="volumes of the app; files beside the Compose file travel with the release",
    ),
    **_refused(
        credential_spec=("it is for Windows", "Remove it"),
        external_links=("it names containers of another project", "Name the address in environment, or extra_hosts"),
        mac_address=("both colours would have it", "Remove it"),
        models=("an app has containers alone", "Remove it"),
        network_mode=("the colours need networks of their own", "Remove it, or run it as a stack of compose_stack"),
        profiles=("every service of an app runs in each release", "Remove it, or the service"),
        provider=("it starts a program of the host", "Make it a stack of compose_stack"),
        use_api_socket=("it hands over the engine", "Remove it"),
        volumes_from=("containers of a release come and go", "Name the volumes"),
    ),
}

DEPLOY: dict[str, Key] = {
    **_mapped(
        labels="left out, as they are of a swarm's service",
        replicas="replicas of x-evenkeel",
        resources="mem_limit, cpus, pids_limit and mem_reservation",
        restart_policy="left out: restart says it",
        rollback_config="left out: the way back is the other colour",
        update_config="left out: the way of a release is fixed",
    ),
    **_refused(
        endpoint_mode=("there is no swarm", "Remove it"),
        mode=("replicas are counted on each host", "Set replicas of x-evenkeel"),
        placement=("every app host runs the whole colour", "Remove it, or set host of x-evenkeel"),
    ),
}

NETWORK: dict[str, Key] = {
    **_kept("driver", "driver_opts", "enable_ipv4", "enable_ipv6", "internal", "labels"),
    **_mapped(attachable="left out, as it is of a swarm"),
    **_refused(
        external=(
            "both colours would answer to the same names in it",
            "Remove external: each colour has a network of its own",
        ),
        ipam=("both colours would want the same addresses", "Remove it"),
        name=("each colour has a network of its own", "Remove it"),
    ),
}

VOLUME: dict[str, Key] = {
    **_kept("driver", "driver_opts", "labels"),
    **_mapped(
        external="kept: it has to be there",
        name="kept; without it <app>_<volume>",
    ),
}

CONFIG: dict[str, Key] = {
    **_mapped(
        content="a file that travels with the release",
        environment="a file with the value of that one of variables",
        file="a file that travels with the release",
        labels="left out, as no engine keeps them",
        name="left out: the file's content names it",
    ),
    **_refused(
        external=("there is no swarm that keeps it", "Set file or content"),
        template_driver=("there is no swarm", "Remove it"),
    ),
}

SECRET: dict[str, Key] = {
    **_mapped(
        environment="the value of that name in the item's secrets",
        external="the value of that name in the item's secrets",
        file="the content of the file on the controller, unless the item's secrets have that name",
        labels="left out, as no engine keeps them",
        name="left out",
    ),
    **_refused(
        driver=("there is no swarm", "Set secrets of the app"),
        driver_opts=("there is no swarm", "Set secrets of the app"),
        template_driver=("there is no swarm", "Set secrets of the app"),
    ),
}

TABLE: dict[str, dict[str, Key]] = {
    "top level": TOP,
    "service": SERVICE,
    "deploy": DEPLOY,
    "volume": VOLUME,
    "network": NETWORK,
    "config": CONFIG,
    "secret": SECRET,
}

# Where each kind of thing stands in a file.
SECTIONS = {"services": SERVICE, "volumes": VOLUME, "networks": NETWORK, "configs": CONFIG, "secrets": SECRET}

Found = tuple[str, str, str, str]


def problems(written: t.Mapping[str, t.Any]) -> list[Found]:
    """Return place, key, what is needed and what to do for each key of a file that is unknown or refused."""
    found = _of("", written, TOP)
    for section, table in SECTIONS.items():
        entries = written.get(section)
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            place = f"{section.removesuffix('s')} {name}"
            if isinstance(entry, dict):
                found += _of(place, entry, table)
                if isinstance(entry.get("deploy"), dict) and table is SERVICE:
                    found += _of(f"{place}, deploy", entry["deploy"], DEPLOY)
    return found


def _of(place: str, written: t.Mapping[t.Any, t.Any], table: dict[str, Key]) -> list[Found]:
    found = []
    for key, value in written.items():
        name = str(key)
        if name.startswith("x-"):
            continue
        if name not in table:
            near = difflib.get_close_matches(name, [*table, "x-evenkeel"], n=1)
            need = near[0] if near else "a key of the Compose Specification"
            found.append((place, name, need, "Rename or remove it"))
        elif table[name].verdict == REFUSED and value not in (None, False, [], {}):
            found.append((place, name, f"it left out, since {table[name].note}", table[name].todo))
    return found
