# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Checks of a whole run, on plain data: what several hosts, roles or programs have to agree on.

What a role alone can judge stands with that role; plugins/action/preflight.py asks both.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import typing as t

Facts = t.Mapping[str, t.Any]

PYTHON = (3, 11)
EVERY = ("0.0.0.0", "::", "*", "")  # noqa: S104 - addresses that are compared, not bound
# The engine forwards a published port by this program, or by rules of the kernel and no program at all.
ENGINE = ("docker-proxy", "dockerd")
EDGE = ("haproxy",)
K3S = ("k3s", "k3s-server", "k3s-agent")
PUBLIC_PORTS = ("edge_http_port", "edge_https_port")
PRIVATE_PORTS = ("edge_preview_port", "edge_status_port")
DEFAULT_DATA_ROOT = "/var/lib/docker"


class Role(t.NamedTuple):
    """A role of site.yml: the groups of its play, and the options of which one has to be set."""

    name: str
    groups: tuple[str, ...]
    wanted_by: tuple[str, ...] = ()


# The plays of playbooks/site.yml, in their order.
ROLES = (
    Role("docker_host", ("app", "data", "ops")),
    Role("edge", ("edge",)),
    Role("k3s_cluster", ("k3s_server", "k3s_agent")),
    Role("compose_stack", ("data", "data_replica")),
    Role("app_deploy", ("edge", "app")),
    Role("postgres_backup", ("all",), ("postgres_backup_instances", "postgres_backup_drills")),
    Role("monitoring", ("all",), ("monitoring_receivers",)),
)


def roles_of(host: str, groups: t.Mapping[str, t.Sequence[str]], options: t.Container[str]) -> list[str]:
    """Return the roles that run on a host; *options* are those it has set to something."""
    return [
        role.name
        for role in ROLES
        if any(host in groups.get(group, ()) for group in role.groups)
        and (not role.wanted_by or any(option in options for option in role.wanted_by))
    ]


# -- hosts -------------------------------------------------------------------


def limit_problems(
    present: t.Collection[str], edges: t.Sequence[str], app_hosts: t.Sequence[str], record_host: str, what: str = ""
) -> list[str]:
    """Return why a run on the *present* hosts would leave edges and hosts on different releases.

    A run without any of them touches no release, so it is nobody's problem.
    """
    needed = list(dict.fromkeys([*edges, *app_hosts, *([record_host] if record_host else [])]))
    missing = [host for host in needed if host not in present]
    if not missing or len(missing) == len(needed):
        return []
    return [
        f"{what or 'preflight'}: hosts of this run: found {', '.join(sorted(present))}, need also "
        f"{', '.join(missing)}, or edges and hosts would be left on different releases. "
        "Take --limit away, or add them to it."
    ]


def out_problems(out: t.Iterable[str], edges: t.Sequence[str]) -> list[str]:
    """Return each edge that is declared out and is none."""
    return [
        f"app_deploy: edge_out: found {name}, need one of {', '.join(edges)}. Set edge_out to an edge."
        for name in out
        if edges and name not in edges
    ]


def name_problems(
    apps: t.Mapping[str, t.Sequence[str]], held: t.Mapping[str, t.Mapping[str, t.Sequence[str]]]
) -> list[str]:
    """Return each public name of an app that an edge routes for an app of another inventory.

    *apps* are the names of each app of this inventory, *held* those of each app by edge. What an app of this inventory
    gives up is its own business.
    """
    owners: dict[tuple[str, str, str], list[str]] = {}
    for edge, routed in held.items():
        for other, names in routed.items():
            for app, wanted in apps.items() if other not in apps else ():
                for name in wanted:
                    if name in names:
                        owners.setdefault((app, name, other), []).append(edge)
    return [
        f"app_deploy: public name {name} of app {app}: found it routed for app {other}, which this inventory does not "
        f"have, on {', '.join(edges)}, need one owner. Take it from hosts of {app} in app_deploy_apps, or uninstall "
        f"{other}."
        for (app, name, other), edges in owners.items()
    ]


def reach_problems(unreachable: t.Mapping[str, str], edges: t.Collection[str] = ()) -> list[str]:
    """Return one sentence for each host that could not be read, with the reason; a deploy can leave one edge out."""
    return [
        f"preflight: host {host}: found it unreachable ({reason}), need it to answer over SSH with Python. "
        "Set ansible_host and ansible_user, or mend the host"
        + (f", or declare it out with -e edge_out={host}." if host in edges and len(edges) > 1 else ".")
        for host, reason in unreachable.items()
    ]


def address_problems(private: t.Mapping[str, str], found: t.Mapping[str, t.Collection[str]]) -> list[str]:
    """Return the private addresses that two hosts share, or that a host does not hold.

    *private* is the address of each host in the inventory, *found* what the hosts that answered hold.
    """
    problems = []
    owners: dict[str, list[str]] = {}
    for host, address in private.items():
        if not address:
            continue
        try:
            owners.setdefault(str(ipaddress.ip_address(address)), []).append(host)
        except ValueError:
            problems.append(
                f"preflight: platform_address of host {host}: found {address}, need an IP address. "
                "Set platform_address."
            )
            continue
        if host in found and str(ipaddress.ip_address(address)) not in found[host]:
            held = [one for one in found[host] if not ipaddress.ip_address(one).is_link_local]
            problems.append(
                f"preflight: platform_address of host {host}: found {address}, which the host does not hold, need one "
                f"of {', '.join(held) or 'its addresses'}. Set platform_address."
            )
    problems += [
        f"preflight: platform_address of hosts {', '.join(hosts)}: found {address} on each, need an address of its own "
        "for each host. Set platform_address."
        for address, hosts in owners.items()
        if len(hosts) > 1
    ]
    return problems


def python_problems(host: str, facts: Facts) -> list[str]:
    """Return whether the Python of a host is too old for the modules."""
    if tuple(int(word) for word in re.findall(r"\d+", facts["python"])[:2]) >= PYTHON:
        return []
    return [
        f"preflight: Python of host {host}: found {facts['python']}, need {PYTHON[0]}.{PYTHON[1]} or later. "
        "Set up the host with a later distribution, or set ansible_python_interpreter."
    ]


def systemd_problems(host: str, facts: Facts) -> list[str]:
    """Return whether a host is not run by systemd, which starts everything of ours."""
    if facts["systemd"]:
        return []
    return [f"preflight: first process of host {host}: found something else, need systemd. Set up the host with it."]


# -- ports -------------------------------------------------------------------


class Claim(t.NamedTuple):
    """Ports that something of ours will listen on."""

    owner: str
    first: int
    last: int
    address: str
    programs: tuple[str, ...]
    advice: str
    protocol: str = "tcp"


def _meet(one: str, other: str) -> bool:
    return one == other or one in EVERY or other in EVERY


def port_problems(host: str, claims: t.Sequence[Claim], listening: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    """Return each port that two of ours want, and each that another program holds, with what holds it."""
    problems = []
    for number, one in enumerate(claims):
        for other in claims[:number]:
            first, last = max(one.first, other.first), min(one.last, other.last)
            same = one.protocol == other.protocol and one.owner != other.owner
            # An edge names its own ports that meet.
            apart = not one.programs == other.programs == EDGE
            if first <= last and same and apart and _meet(one.address, other.address):
                problems.append(
                    f"preflight: port {first} of host {host}: found it wanted by {other.owner} and by {one.owner}, "
                    f"need one of them there. {one.advice}"
                )
    seen = set()
    for socket in listening:
        for claim in claims:
            held = claim.first <= socket["port"] <= claim.last and claim.protocol == socket["protocol"]
            if not held or socket["program"] in claim.programs or not _meet(claim.address, socket["address"]):
                continue
            key = (socket["port"], socket["program"], claim.owner)
            if key in seen:
                continue
            seen.add(key)
            program = socket["program"] or "a program that cannot be seen"
            pid = f" (pid {socket['pid']})" if socket["pid"] else ""
            stop = socket["program"] or "it"
            if socket.get("container"):
                program = stop = f"container {socket['container']}"
                pid = f" ({socket['program']}, pid {socket['pid']})"
            problems.append(
                f"preflight: port {socket['port']} of host {host}: found {program}{pid} listening on it, need it free "
                f"for {claim.owner}. Stop {stop}, or move ours: {claim.advice}"
            )
    return problems


def published(definition: t.Mapping[str, t.Any]) -> list[tuple[int, int, str, str]]:
    """Return the ports a Compose definition publishes: first, last, address and protocol."""
    found = []
    for service in (definition.get("services") or {}).values():
        for port in (service or {}).get("ports") or [] if isinstance(service, dict) else []:
            entry = port if isinstance(port, dict) else short_port(str(port))
            numbers = [int(word) for word in re.findall(r"\d+", str(entry.get("published") or ""))[:2]]
            if numbers:
                address = str(entry.get("host_ip") or "0.0.0.0")  # noqa: S104 - Compose's default
                found.append((numbers[0], numbers[-1], address, str(entry.get("protocol") or "tcp")))
    return found


def memory_of(definition: t.Mapping[str, t.Any], size: t.Callable[[str], int]) -> int:
    """Return the sum of the memory limits of a Compose definition; what has none counts as nothing."""
    total = 0
    for service in (definition.get("services") or {}).values():
        limits = ((service.get("deploy") or {}).get("resources") or {}).get("limits") or {}
        try:
            total += size(str(limits.get("memory") or service.get("mem_limit") or 0))
        except ValueError:
            continue
    return total


def memory_problems(host: str, need: int, memory: int | None) -> list[str]:
    """Return whether the stacks of a host may use more memory than it has."""
    if memory is None or need <= memory:
        return []
    return [
        f"preflight: memory of host {host}: found {memory // 1024**2} MiB, need {need // 1024**2} MiB for its stacks. "
        "Lower their memory limits, or give the host more."
    ]


# -- Docker ------------------------------------------------------------------


def edge_firewall_problems(host: str, enabled: bool, facts: Facts) -> list[str]:
    """Return the firewalls of others on an edge that is no Docker host."""
    return [
        f"edge: firewall of host {host}: found {name} active, need ours alone, since a packet has to pass both. "
        f"Run {'ufw disable' if name == 'ufw' else 'systemctl disable --now firewalld'}, or set "
        "edge_firewall_enabled to false."
        for name in (facts["firewalls"] if enabled else [])
    ]


def meeting_problems(host: str, daemon: t.Mapping[str, t.Any], agent_logs: t.Sequence[str] | None) -> list[str]:
    """Return options of different roles that cannot be true together.

    *daemon* are the options of the engine, *agent_logs* the patterns that the agent reads, None where there is none.
    """
    problems = []
    root = str(daemon.get("data_root") or DEFAULT_DATA_ROOT).rstrip("/")
    if agent_logs is not None and root != DEFAULT_DATA_ROOT and not any(p.startswith(f"{root}/") for p in agent_logs):
        problems.append(
            f"monitoring: container logs of host {host}: found {', '.join(agent_logs) or 'none'} while the engine "
            f"writes below {root}, need that folder. Set monitoring_agent_container_logs to "
            f"[{root}/containers/*/*-json.log]."
        )
    return problems


# -- schedules ---------------------------------------------------------------


def schedule_problems(host: str, schedules: t.Mapping[str, tuple[str, str]], refused: t.Mapping[str, str]) -> list[str]:
    """Return each calendar expression that systemd refuses; *schedules* is expression and option by what it is of."""
    return [
        f"preflight: schedule of {what}: found {expression!r}, which systemd on {host} refuses "
        f"({refused[expression]}), need a calendar expression such as '*-*-* 03:00:00'. Set {option}."
        for what, (expression, option) in schedules.items()
        if expression in refused
    ]


# -- variables that are missing ----------------------------------------------


def missing_problems(missing: t.Mapping[str, t.Sequence[tuple[str, str]]], vault: str) -> list[str]:
    """Return one sentence for each variable that is needed and not there.

    *missing* has the places of each, as role and description; *vault* is the command that opens the vault.
    """
    problems = []
    for name, places in missing.items():
        order = [role.name for role in ROLES]
        ranked = sorted(places, key=lambda one: order.index(one[0]))
        where = list(dict.fromkeys(place for _role, place in ranked))
        more = f" and {len(where) - 6} more" if len(where) > 6 else ""
        secret = re.search(r"vault|password|secret|token|key", name)
        advice = f"Run {vault} and set {name}" if secret else f"Set {name} in the inventory"
        problems.append(
            f"{ranked[0][0]}: variable {name}: found none, need it for {', '.join(where[:6])}{more}. {advice}."
        )
    return problems


def template_problem(role: str, where: str, error: str) -> str:
    return f"{role}: {where}: found a template that fails ({error}), need a value. Mend the template."


def empty_secret_problems(places: t.Sequence[tuple[str, str]], vault: str) -> list[str]:
    """Return one sentence for each secret without a value; *places* are role and description."""
    return [
        f"{role}: {place}: found an empty value, need its secret. Run {vault} and set it." for role, place in places
    ]


# -- argument specs ----------------------------------------------------------

Convert = t.Callable[[dict[str, t.Any], t.Any], bool]


def singular(option: str) -> str:
    word = option.rpartition("_")[2]
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "is", "us")) else word


def place(option: str, item: t.Any, number: int) -> str:
    """Return how people call one item of a list: by its name, where it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return f"{singular(option)} {name}" if name not in (None, "") else f"item {number + 1} of {option}"


def spec_problems(
    role: str,
    options: t.Mapping[str, t.Any],
    values: t.Mapping[str, t.Any],
    fits: Convert,
    skip: t.Callable[[t.Any], bool] = lambda _value: False,
    where: tuple[str, ...] = (),
) -> list[str]:
    """Return every breach of a role's argument spec, each with the item it is in.

    *fits* says whether a value can be made what one option asks for; *skip* which values are not known.
    """
    problems = []
    of = "".join(f" of {one}" for one in reversed(where))
    if where:
        for key in sorted(set(map(str, values)) - set(options)):
            near = difflib.get_close_matches(key, options, n=1)
            need = near[0] if near else f"one of {', '.join(sorted(options))}"
            problems.append(f"{role}: option {key}{of}: found {key}, need {need}. Rename or remove it.")
    for name, option in options.items():
        value = values.get(name)
        if value is None:
            if option.get("required"):
                problems.append(f"{role}: {name}{of}: found none, need it. Set {name}.")
            continue
        if skip(value):
            continue
        if isinstance(value, (list, tuple)):
            value = [one for one in value if not skip(one)]
        shown = "a value that is not shown" if option.get("no_log") else repr(_plain(value))
        flat = {key: entry for key, entry in option.items() if key in ("type", "elements")}
        if not fits(flat, value):
            need = option.get("type", "str")
            need = f"list of {option['elements']}" if need == "list" and option.get("elements") else need
            problems.append(f"{role}: {name}{of}: found {shown}, need a value of type {need}. Set {name}.")
            continue
        choices = option.get("choices")
        given = value if isinstance(value, (list, tuple)) else [value]
        wrong = [one for one in given if choices and str(one) not in map(str, choices)]
        if wrong:
            found = ", ".join(map(str, wrong)) if not option.get("no_log") else shown
            problems.append(
                f"{role}: {name}{of}: found {found}, need one of {', '.join(map(str, choices))}. Set {name}."
            )
        if option.get("options"):
            items = [(place(name, one, number), one) for number, one in enumerate(given)]
            for label, item in items if option.get("type") == "list" else [(name, value)]:
                if isinstance(item, dict):
                    problems += spec_problems(role, option["options"], item, fits, skip, (*where, label))
    return problems


def _plain(value: t.Any) -> t.Any:
    text = value if isinstance(value, (str, int, float, bool)) else type(value).__name__
    return str(text)[:80] if isinstance(text, str) else text


# -- stacks ------------------------------------------------------------------


PORT = re.compile(
    r"(?:(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:]*)):)?(?:(?P<published>[\d-]*):)?(?P<target>[\d-]+)"  # address:host:own
)


def short_port(text: str) -> dict[str, str]:
    """Return Compose's short form of a port as its long one."""
    rest, _slash, protocol = text.partition("/")
    match = PORT.fullmatch(rest)
    if not match:
        return {"target": rest}
    first, published_port = match["six"] or match["four"] or "", match["published"]
    if published_port is None and re.fullmatch(r"[\d-]+", first):
        # Two parts are port and port.
        first, published_port = "", first
    return {
        "host_ip": first,
        "published": published_port or "",
        "target": match["target"],
        "protocol": protocol or "tcp",
    }


def _short_mount(text: str) -> dict[str, t.Any]:
    parts = text.split(":")
    if len(parts) == 1:
        return {"type": "volume", "source": "", "target": parts[0]}
    kind = "bind" if parts[0].startswith(("/", ".", "~")) else "volume"
    return {"type": kind, "source": parts[0], "target": parts[1], "read_only": "ro" in parts[2:]}


def normalised(definition: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """Return the services of a definition in the long forms that the linter reads.

    It does what C(docker compose config) does with ports, volumes and environment; a bare host has no Compose yet.
    """
    services = {}
    for name, given in (definition.get("services") or {}).items():
        service = dict(given)
        service["ports"] = [p if isinstance(p, dict) else short_port(str(p)) for p in service.get("ports") or []]
        service["volumes"] = [v if isinstance(v, dict) else _short_mount(str(v)) for v in service.get("volumes") or []]
        environment = service.get("environment") or {}
        if isinstance(environment, (list, tuple)):
            environment = {str(line).partition("=")[0]: str(line).partition("=")[2] for line in environment}
        service["environment"] = environment
        for key in ("tmpfs",):
            if isinstance(service.get(key), str):
                service[key] = [service[key]]
        test = (service.get("healthcheck") or {}).get("test")
        if isinstance(test, str):
            service["healthcheck"] = {**service["healthcheck"], "test": ["CMD-SHELL", test]}
        services[str(name)] = service
    return services
