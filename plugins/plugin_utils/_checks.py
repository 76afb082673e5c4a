# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PRIVATE to the collection: may change in any release without notice.
"""Every check of every role for one host, on its options and facts. Nothing here talks to a host."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import typing as t

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.evenkeel.platform.plugins.filter.compose_stack import compose_stack_problems
from ansible_collections.evenkeel.platform.plugins.filter.edge import edge_problems
from ansible_collections.evenkeel.platform.plugins.filter.k3s import k3s_cluster_host_problems, k3s_cluster_together
from ansible_collections.evenkeel.platform.plugins.filter.monitoring import monitoring_problems, monitoring_stack
from ansible_collections.evenkeel.platform.plugins.filter.options import unknown_options
from ansible_collections.evenkeel.platform.plugins.filter.postgres_backup import (
    postgres_backup_problems,
    postgres_backup_units,
)
from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _app_choice,
    _app_problems,
    _calendar,
    _compose_app,
    _compose_app_problems,
    _compose_policy,
    _compose_release,
    _model,
    _ports,
    _preflight,
    _service_problems,
    _stacks,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._model import Model, additions
from ansible_collections.evenkeel.platform.plugins.module_utils._preflight import Claim
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _compose_files, _k3s_program
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import UNKNOWN, Missing, RoleFiles, RoleView

# What a host is taken for where nobody could ask it: nothing about it is a problem then but that.
NO_FACTS: dict[str, t.Any] = {
    "python": "3.13",
    "os": {"distribution": "Debian", "version": "13", "codename": "trixie", "family": "Debian"},
    "systemd": True,
    "memory_bytes": None,
    "disks": {},
    "addresses": [],
    "networks": [],
    "gateways": [],
    "listening": [],
    "public_names": {},
    "connection": "",
    "apt_sources": {},
    "daemon": None,
    "daemon_text": None,
    "written": None,
    "firewalls": [],
    "versions": {"docker": "", "compose": "", "haproxy": ""},
    "packages": [],
    "snaps": [],
    "overlay": True,
    "controllers_missing": [],
    "refused_calendars": {},
    "images_missing": {},
    "stacks": [],
    "architecture": "",
    "clock": None,
    "k3s": {
        "installed": False,
        "role": "",
        "version": "",
        "data": "",
        "foreign": [],
        "machine_id": "",
        "swap_bytes": 0,
    },
}
# Names that begin like a role's options and are of a playbook.
OF_PLAYBOOKS = ("edge_out",)
# An app is one for all its hosts, so its options are read once, as the first host of the run sees them.
SHARED = ("app_deploy",)
# Options whose items a role's own check judges, key by key.
OWN_SHAPE = ("app_deploy_apps",)
# Rules of the linter that the checks of an app ask as well, in the keys of its services.
APP_RULES = {*_service_problems.LIMIT_RULES.values(), "healthcheck", "image-tag", "root-user", "secrets-in-environment"}
APP_SECRET = re.compile(r"secret (\S+) of service (\S+) of app (\S+)")
ITEM_SECRET = re.compile(r"(\S+) of secrets of app (\S+)")
BROKEN = (AnsibleError, KeyError, TypeError, ValueError, AttributeError)


PLAIN: dict[str, t.Any] = {"str": str, "int": int, "bool": bool, "dict": dict, "float": float, "list": (list, tuple)}


def fits(flat: dict[str, t.Any], value: t.Any) -> bool:
    """Return whether Ansible can make a value what an option asks for."""
    wanted = flat.get("type", "str")
    items = value if wanted == "list" and isinstance(value, (list, tuple)) else []
    element = PLAIN.get(flat.get("elements", ""), object)
    # Most values are of their type already, and Ansible's validator is slow to set up.
    if wanted in PLAIN and isinstance(value, PLAIN[wanted]) and all(isinstance(one, element) for one in items):
        return True
    return not ArgumentSpecValidator({"option": flat}).validate({"option": value}).error_messages


def items(value: t.Any) -> list[dict[str, t.Any]]:
    """Return the dictionaries of a list; of what could not be templated there are none."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, (list, tuple)) else []


def stack_problems(
    name: str, definition: dict[str, t.Any], secrets: list[dict[str, t.Any]], waivers: list[dict[str, t.Any]]
) -> list[str]:
    """Return what the linter says of a stack as far as it can be said without its images."""
    found = _compose_policy.unsupported(definition, name)
    if found:
        return found
    services = _preflight.normalised(definition)
    found += _compose_policy.waiver_problems(waivers, services, name)
    found += _compose_release.secret_problems([{"uid": 0, **secret} for secret in secrets], services, name)
    return found + [finding.sentence(name) for finding in findings(services, secrets, waivers)]


def findings(
    services: dict[str, t.Any], secrets: list[dict[str, t.Any]], waivers: list[dict[str, t.Any]]
) -> list[_compose_policy.Finding]:
    """Return what the linter finds in services, without what their images may still have: a health check, a user."""
    bare = {one["service"] for one in secrets if one.get("as") == "environment" and not one.get("reason")}
    return [
        one
        for one in _compose_policy.unwaived(_compose_policy.lint(services, None, bare), waivers)
        if (one.rule, one.found) not in (("healthcheck", "none"), ("root-user", "no user"))
    ]


class HostChecks:
    """The roles of one host: their options as it sees them, and what is wrong with them."""

    def __init__(
        self,
        files: RoleFiles,
        host: str,
        raw: t.Mapping[str, t.Any],
        more: t.Mapping[str, t.Any],
        facts: t.Mapping[str, t.Any] | None,
        wanted: t.Collection[str] = (),
        views: dict[str, RoleView] | None = None,
        answers: t.Mapping[str, t.Any] | None = None,
    ) -> None:
        """*views* holds the roles whose options are the same for every host, filled by the first.

        *answers* are what a host has made of the apps' Compose files.
        """
        self.files, self.host, self.raw = files, host, raw
        self.known = facts is not None
        self.facts = {**NO_FACTS, **(facts or {})}
        self.more = {**more, "ansible_facts": self._ansible_facts()} if self.known or more else dict(more)
        self._views: dict[str, RoleView] = {}
        self._shared = {} if views is None else views
        self.answers = answers or {}
        present = {
            name
            for role in _preflight.ROLES
            for name in role.wanted_by
            if name in raw and self.view(role.name).options.get(name)
        }
        self.every = _preflight.roles_of(host, raw["groups"], present)
        self.roles = [role for role in self.every if not wanted or role in wanted]

    def view(self, role: str) -> RoleView:
        views = self._shared if role in SHARED else self._views
        if role not in views:
            views[role] = RoleView(self.files, role, self.raw, self.more)
        return views[role]

    def _ansible_facts(self) -> dict[str, t.Any]:
        system, memory = self.facts["os"], self.facts["memory_bytes"]
        return {
            "distribution": system["distribution"],
            "distribution_version": system["version"],
            "distribution_major_version": system["version"].split(".")[0],
            "distribution_release": system["codename"],
            "os_family": system["family"],
            "memtotal_mb": memory // 1024**2 if memory else None,
        }

    # -- what the host will hold ---------------------------------------------

    def daemon_options(self) -> dict[str, t.Any]:
        given = self.view("docker_host").options.get("docker_host_daemon")
        return given if isinstance(given, dict) else {}

    def data_root(self) -> str:
        root = str(self.daemon_options().get("data_root") or "")
        return root if root.startswith("/") else _preflight.DEFAULT_DATA_ROOT

    @functools.cached_property
    def apps(self) -> list[Model]:
        """Return the models of the apps that can be read as such."""
        found = []
        for app in items(self.view("app_deploy").options.get("app_deploy_apps")):
            with contextlib.suppress(*BROKEN):  # what it lacks is named by the checks of the apps
                read = self.projects.get(str(app.get("name")))
                found.append(_model.of(app, read["project"] if read else None, self.strict))
        return found

    @functools.cached_property
    def projects(self) -> dict[str, _app_problems.Read]:
        """Return what is known of the apps' Compose files, by app."""
        options = self.view("app_deploy").options
        try:
            return _compose_files.projects(
                items(options.get("app_deploy_apps")),
                self.answers,
                str(options.get("app_deploy_release") or ""),
                str(options.get("app_deploy_only") or ""),
            )
        except BROKEN:
            return {}

    @property
    def strict(self) -> bool:
        return self.view("app_deploy").options.get("app_deploy_policy") == "strict"

    def compose_files(self) -> list[dict[str, t.Any]]:
        """Return what this host is asked to normalise; the first app host answers for all."""
        options = self.view("app_deploy").options
        hosts = self.raw["groups"].get(options.get("app_deploy_app_group")) or []
        if list(hosts)[:1] != [self.host]:
            return []
        try:
            return _compose_files.asked(
                items(options.get("app_deploy_apps")),
                str(options.get("app_deploy_release") or ""),
                str(options.get("app_deploy_only") or ""),
            )
        except BROKEN:
            return []

    @functools.cached_property
    def address(self) -> str:
        return str(self.view("edge").expanded("platform_address") or "")

    def in_group(self, option: str, role: str) -> bool:
        return self.host in self.raw["groups"].get(self.view(role).options.get(option), ())

    @functools.cached_property
    def stacks(self) -> list[dict[str, t.Any]]:
        """Return the stacks of compose_stack, and that of monitoring, with what is known of them."""
        found = []
        if "compose_stack" in self.every:
            found += [
                one
                for one in items(self.view("compose_stack").options.get("compose_stack_stacks"))
                if one.get("state", "present") == "present"
            ]
        group = self.raw["groups"].get(self.view("monitoring").options.get("monitoring_server_group")) or []
        if "monitoring" in self.every and group[:1] == [self.host]:
            with contextlib.suppress(*BROKEN):  # its problems are named by the role's own check
                found.append({"name": "monitoring", **monitoring_stack(self.monitoring_options)})
        return found

    @functools.cached_property
    def monitoring_options(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], self.view("monitoring").internal("__monitoring_options"))

    def images(self, apps: t.Collection[str]) -> list[str]:
        """Return the images of the releases of *apps* that this host would run."""
        if "app_deploy" not in self.roles or not self.in_group("app_deploy_app_group", "app_deploy"):
            return []
        options = self.view("app_deploy").options
        found: set[str] = set()
        for app in with_release(items(options.get("app_deploy_apps")), *_typed_release(options)):
            if app.get("name") in apps:
                with contextlib.suppress(*BROKEN):
                    found.update(_stacks.images(_model.of(app)))
        return sorted(found)

    def schedules(self) -> dict[str, tuple[str, str]]:
        """Return expression and option of each schedule by what it is of."""
        found: dict[str, tuple[str, str]] = {}
        if "app_deploy" in self.roles and self.in_group("app_deploy_app_group", "app_deploy"):
            app_hosts = list(self.raw["groups"][self.view("app_deploy").options["app_deploy_app_group"]])
            for app in self.apps:
                for name, service in _model.of_kind(app, "scheduled").items():
                    if _model.home_of(service, app_hosts) != self.host:
                        continue
                    schedule = additions(service)["schedule"]
                    # What is no calendar expression at all is named by the checks of the app.
                    if _calendar.CALENDAR.fullmatch(schedule) and not _calendar.is_cron(schedule):
                        what = f"service {name} of app {app['name']}"
                        found[what] = (schedule, "schedule in app_deploy_apps")
        if "docker_host" in self.roles and self.view("docker_host").options.get("docker_host_prune_enabled"):
            prune = str(self.view("docker_host").options["docker_host_prune_schedule"])
            found[f"pruning on {self.host}"] = (prune, "docker_host_prune_schedule")
        if "postgres_backup" in self.roles:
            options = self.view("postgres_backup").options
            try:
                units = postgres_backup_units(options["postgres_backup_instances"], options["postgres_backup_drills"])
            except BROKEN:
                units = []
            for unit in units:
                found[unit["description"]] = (str(unit["calendar"]), "its calendar in postgres_backup_instances")
        return {what: entry for what, entry in found.items() if UNKNOWN not in entry[0]}

    def claims(self) -> list[Claim]:
        """Return the ports that programs of ours will listen on."""
        found: list[Claim] = []
        if "edge" in self.roles:
            options = self.view("edge").options
            private = str(options.get("edge_private_address") or self.address)
            for option, address in (
                *((name, one) for name in _preflight.PUBLIC_PORTS for one in options["edge_public_addresses"]),
                *((name, private) for name in _preflight.PRIVATE_PORTS),
            ):
                port, owner = int(options[option]), f"the edge ({option})"
                found.append(Claim(owner, port, port, address, _preflight.EDGE, f"Set {option}."))
        if "app_deploy" in self.roles and self.in_group("app_deploy_app_group", "app_deploy"):
            for app in self.apps:
                if app["port_base"]:
                    first, name = app["port_base"], app["name"]
                    last, up = first + app["port_count"] - 1, self._engine_if(*_stacks.stack_names(name))
                    found.append(Claim(f"app {name}", first, last, self.address, up, "Set port_base of the app."))
        if "k3s_cluster" in self.roles:
            found += self._k3s_claims()
        for stack in self.stacks:
            name = str(stack.get("name"))
            for first, last, address, protocol in _preflight.published(stack.get("definition") or {}):
                advice = f"Set ports of stack {name}."
                found.append(Claim(f"stack {name}", first, last, address, self._engine_if(name), advice, protocol))
        return found

    def _k3s_claims(self) -> list[Claim]:
        options, every = self.k3s_options(), "0.0.0.0"  # noqa: S104 - what k3s binds, not what we do
        server = self.host in self.k3s_servers()
        wanted = [(10250, "the kubelet", "tcp", "Take the host out of one group.")]
        if server:
            wanted.append((int(options["k3s_cluster_api_port"]), "the API of k3s", "tcp", "Set k3s_cluster_api_port."))
        if options["k3s_cluster_flannel_backend"] == "vxlan":
            advice = "Set k3s_cluster_flannel_backend."
            wanted.append((8472, "the network between pods", "udp", advice))
        return [
            Claim(owner, port, port, every, _preflight.K3S, advice, protocol)
            for port, owner, protocol, advice in wanted
        ]

    def _engine_if(self, *stacks: str) -> tuple[str, ...]:
        return _preflight.ENGINE if any(stack in self.facts["stacks"] for stack in stacks) else ()

    def stacks_memory(self) -> int:
        return sum(_preflight.memory_of(stack.get("definition") or {}, _model.memory_bytes) for stack in self.stacks)

    # -- what is wrong -------------------------------------------------------

    def broken(self) -> bool:
        """Return whether an option is missing, or of a wrong type, so that a check may stumble over it."""
        return any(view.missing or self._breaches(view) for view in {**self._views, **self._shared}.values())

    def _breaches(self, view: RoleView) -> list[str]:
        if view.breaches is None:
            options = view.options.all()
            known = {
                name: {"type": option["type"]} if name in OWN_SHAPE else option for name, option in view.known.items()
            }
            view.breaches = _preflight.spec_problems(view.role, known, options, fits, lambda v: v == UNKNOWN)
        return view.breaches

    def breaches(self) -> list[str]:
        """Return the sentences about argument specs, which say less than those of a role's own check."""
        return [sentence for role in self.roles for sentence in self._breaches(self.view(role))]

    def asked(self, check: t.Callable[..., list[str]], *args: t.Any) -> list[str]:
        """Return what a check finds. Over options that are broken, and named as such, it may fail."""
        try:
            return [sentence for sentence in check(*args) if UNKNOWN not in sentence]
        except BROKEN:
            if not self.broken():
                raise
            return []

    def problems(self) -> list[tuple[str, str]]:
        """Return role and sentence of each problem."""
        found: list[tuple[str, str]] = []
        for role in self.roles:
            view = self.view(role)
            names = [name for name in view.written if name not in OF_PLAYBOOKS]
            sentences = [*unknown_options(names, view.spec, role), *self._breaches(view)]
            if role != "app_deploy":  # the apps are judged once, over all their hosts
                sentences += self.asked(getattr(self, f"_{role}"), view)
            found += [(role, sentence) for sentence in sentences]
        for check in (self._python, self._ports, self._schedules, self._memory) if self.known and self.roles else ():
            found += [("", sentence) for sentence in self.asked(check)]
        return found

    def _python(self) -> list[str]:
        found = _preflight.python_problems(self.host, self.facts)
        # docker_host has a sentence of its own for the second.
        return found + ([] if "docker_host" in self.roles else _preflight.systemd_problems(self.host, self.facts))

    def _ports(self) -> list[str]:
        return _preflight.port_problems(self.host, self.claims(), self.facts["listening"])

    def _schedules(self) -> list[str]:
        return _preflight.schedule_problems(self.host, self.schedules(), self.facts["refused_calendars"])

    def _memory(self) -> list[str]:
        if "app_deploy" in self.roles:
            return []  # there it is counted with the apps
        return _preflight.memory_problems(self.host, self.stacks_memory(), self.facts["memory_bytes"])

    def _docker_host(self, _view: RoleView) -> list[str]:
        root = self.data_root()
        # The role's own expressions judge the same facts, in the words its probe has for them.
        seen = {
            **self.facts,
            "free_bytes": self.facts["disks"].get(root, {}).get("free_bytes", 10**15),
        }
        more = {
            **self.more,
            "__docker_host_probe_result": {"stdout": json.dumps(seen)},
            "__docker_host_connection": {"stdout": self.facts["connection"]},
        }
        own = RoleView(self.files, "docker_host", self.raw, more)
        found = [sentence for part in own.internal("__docker_host_found_problems") for sentence in _flat(part)]
        agent = self.view("monitoring").options if "monitoring" in self.roles else {}
        logs = agent["monitoring_agent_container_logs"] if agent.get("monitoring_agent_enabled") else None
        return found + _preflight.meeting_problems(self.host, self.daemon_options(), logs)

    def _edge(self, view: RoleView) -> list[str]:
        host = view.internal("__edge_host")
        found = edge_problems(view.options.all(), host, view.internal("__edge_firewall_rules"))
        if "docker_host" not in self.roles:
            found += _preflight.edge_firewall_problems(self.host, view.options["edge_firewall_enabled"], self.facts)
        return found

    def k3s_options(self) -> dict[str, t.Any]:
        return {"k3s_cluster_api_address": "", **self.view("k3s_cluster").options.all()}

    def k3s_node(self) -> dict[str, t.Any]:
        """Return what the checks of a whole cluster need to know of this node."""
        node = dict(self.view("k3s_cluster").internal("__k3s_cluster_host"))
        return {**node, "facts": self.facts if self.known else None}

    def k3s_servers(self) -> list[str]:
        return list(self.raw["groups"].get(self.k3s_options()["k3s_cluster_server_group"]) or [])

    def _k3s_cluster(self, view: RoleView) -> list[str]:
        options = self.k3s_options()
        url = str(view.internal("__k3s_cluster_url")) if self.k3s_servers() else ""
        found = k3s_cluster_host_problems(options, self.k3s_node(), self.host, url, _k3s_program.known_keys(options))
        if "docker_host" in self.every and not options["k3s_cluster_beside_docker"]:
            found.append(
                f"k3s_cluster: host {self.host}: found it in a group of Docker hosts as well, need one engine for "
                "containers. Take it out of one group, or set k3s_cluster_beside_docker to true."
            )
        return found

    def _compose_stack(self, view: RoleView) -> list[str]:
        stacks = view.options["compose_stack_stacks"]
        found = self.asked(compose_stack_problems, stacks)
        for stack in items(stacks):
            if stack.get("definition") and stack.get("state", "present") == "present":
                secrets, waivers = items(stack.get("secrets")), items(stack.get("waivers"))
                found += self.asked(stack_problems, str(stack["name"]), stack["definition"], secrets, waivers)
        return found

    def _postgres_backup(self, view: RoleView) -> list[str]:
        options, system = view.options, self.facts["os"]
        found = postgres_backup_problems(options["postgres_backup_instances"], options["postgres_backup_drills"])
        if system["family"] != "Debian" and view.internal("__postgres_backup_packages"):
            found.append(
                f"postgres_backup: distribution of {self.host}: found {system['distribution']}, need Debian or what is "
                "made from it. Set up the host with one of them."
            )
        return found

    def _monitoring(self, view: RoleView) -> list[str]:
        found, system = [], self.facts["os"]
        if system["family"] != "Debian":
            found.append(
                f"monitoring: distribution on {self.host}: found {system['distribution']}, need Debian or one of its "
                "family. Take the host out of the play."
            )
        if not view.options.get("monitoring_address") and not self.address:
            found.append(
                f"monitoring: private address on {self.host}: found none, need one for the node exporter. "
                "Set platform_address in the inventory."
            )
        group = view.options["monitoring_server_group"]
        servers = self.raw["groups"].get(group) or []
        if not servers:
            found.append(
                f"monitoring: group {group}: found no host, need the one that watches as its first. "
                "Set monitoring_server_group."
            )
            return found
        disk = self.facts["disks"].get(self.data_root(), {}).get("size_bytes", 0) if servers[0] == self.host else 0
        names = [app["name"] for app in self.apps]
        found += monitoring_problems(self.monitoring_options, names, disk / 10**9, list(self.raw["groups"]["all"]))
        return found

    def written(self, role: str) -> dict[str, t.Any]:
        """Return the variables of a role, or of all of the host's, as the inventory has them."""
        if role:
            return self.view(role).written
        return {name: value for one in self.roles for name, value in self.view(one).written.items()}

    def missing(self) -> list[tuple[str, Missing]]:
        """Return each variable that was needed and not there, once the checks have asked for it."""
        return [
            (view.role, one)
            for role, view in {**self._views, **self._shared}.items()
            if role in self.roles
            for one in view.missing
        ]

    def empty_secrets(self) -> list[tuple[str, str]]:
        """Return role and place of each secret of a stack whose value is empty; those of apps have their own check."""
        if "compose_stack" not in self.roles:
            return []
        return [
            (
                "compose_stack",
                f"secret {secret.get('name')} of service {secret.get('service')} of stack {stack.get('name')}",
            )
            for stack in items(self.view("compose_stack").options.get("compose_stack_stacks"))
            for secret in items(stack.get("secrets"))
            if not str(secret.get("value", "")).strip()
        ]

    def later(self) -> list[str]:
        """Return what only a program that the host does not have yet can tell."""
        found = []
        versions = self.facts["versions"]
        if "edge" in self.roles and not versions["haproxy"]:
            found.append(f"configuration of the edge on {self.host}: haproxy -c, once HAProxy is installed")
        if "docker_host" in self.roles and not versions["compose"]:
            found.append(f"stacks and images on {self.host}: docker compose config and pull, once Docker is installed")
        if self.compose_files():
            found += [
                f"Compose file of app {name}: docker compose config, once Docker is installed on {self.host}"
                for name, read in self.projects.items()
                if read["project"] is None and not read["problems"]
            ]
        found += [
            f"stack {stack['name']} on {self.host}: the linter, once its template is rendered"
            for stack in self.stacks
            if stack.get("template")
        ]
        return found


def _flat(part: t.Any) -> t.Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for one in part:
            yield from _flat(one)


def _typed_release(options: t.Mapping[str, t.Any]) -> tuple[str, str]:
    return str(options.get("app_deploy_release") or ""), str(options.get("app_deploy_only") or "")


def with_release(apps: list[dict[str, t.Any]], release: str, only: str) -> list[dict[str, t.Any]]:
    """Return the apps with the release that was typed, which stands in for what the inventory names."""
    return [{**app, "release": release} if release and only in ("", app.get("name")) else app for app in apps]


def image_problems(missing: t.Mapping[str, t.Mapping[str, t.Sequence[str]]]) -> list[str]:
    """Return one sentence for each image that cannot be had; *missing* is what each host found, and what to do."""
    hosts: dict[tuple[str, ...], list[str]] = {}
    for host, images in missing.items():
        for image, (found, advice) in images.items():
            hosts.setdefault((image, found, advice), []).append(host)
    return [
        f"app_deploy: image {image} on {', '.join(those)}: found {found}, need it to be pulled. {advice}."
        for (image, found, advice), those in hosts.items()
    ]


def fleet_problems(checks: t.Mapping[str, HostChecks], present: t.Collection[str]) -> list[str]:
    """Return what is wrong with the apps over all their edges and hosts."""
    judge = next((one for one in checks.values() if "app_deploy" in one.roles), None)
    if judge is None:
        return []
    view, groups = judge.view("app_deploy"), judge.raw["groups"]
    options = view.options
    edges = list(groups.get(options["app_deploy_edge_group"]) or [])
    app_hosts = list(groups.get(options["app_deploy_app_group"]) or [])
    record_host = options.get("app_deploy_record_host") or (edges[0] if edges else "")
    found = _preflight.limit_problems(present, edges, app_hosts, record_host, "app_deploy")
    found += _preflight.out_problems(_out(options), edges)
    if record_host and record_host not in groups["all"]:
        found.append(
            f"app_deploy: app_deploy_record_host: found {record_host}, need a host of the inventory. "
            "Set app_deploy_record_host."
        )
    apps, only, release = (options[f"app_deploy_{name}"] for name in ("apps", "only", "release"))
    hosts = {
        name: {
            "address": checks[name].address if name in checks else judge.more["hostvars"][name].get("platform_address"),
            "memory_bytes": checks[name].facts["memory_bytes"] if name in checks else None,
            "stacks_memory_bytes": checks[name].stacks_memory() if name in checks else None,
        }
        for name in app_hosts
    }
    chosen = judge.asked(_app_choice.choice_problems, apps, only, release)
    if release and not chosen:
        # What is typed stands in for what the inventory names.
        apps = with_release(items(apps), release, only)
    facts: _app_problems.Facts = {
        "stacks": {name: [str(one.get("name")) for one in checks[name].stacks] for name in app_hosts if name in checks},
        "undefined": undefined_secrets(checks),
        "projects": judge.projects,
        "strict": judge.strict,
    }
    found += chosen
    found += judge.asked(
        _preflight.name_problems,
        {str(app.get("name")): [*(app.get("domains") or []), *(app.get("hosts") or [])] for app in items(apps)},
        {name: checks[name].facts["public_names"] for name in edges if name in checks},
    )
    found += judge.asked(_app_problems.problems, apps, hosts, edges, facts)
    for app in judge.apps:
        found += judge.asked(app_stack_problems, app, hosts)
    return found + image_problems({name: one.facts["images_missing"] for name, one in checks.items()})


def fleet_advice(checks: t.Mapping[str, HostChecks]) -> list[str]:
    """Return what is advised for apps of Compose files, and refused by none but a strict policy."""
    judge = next((one for one in checks.values() if "app_deploy" in one.roles), None)
    if judge is None:
        return []
    described = [app["name"] for app in judge.apps if app["name"] in judge.projects]
    return [line for app in judge.apps if app["name"] in described for line in _compose_app_problems.advice(app)]


def k3s_problems(checks: t.Mapping[str, HostChecks]) -> list[tuple[str, str]]:
    """Return host and sentence of what is wrong with the nodes of each cluster together."""
    clusters: dict[str, dict[str, HostChecks]] = {}
    for host, one in checks.items():
        if "k3s_cluster" in one.roles:
            clusters.setdefault(str(one.k3s_options()["k3s_cluster_server_group"]), {})[host] = one
    found = []
    for nodes in clusters.values():
        judge = next(iter(nodes.values()))
        together = {host: one.k3s_node() for host, one in nodes.items()}
        sentences = judge.asked(k3s_cluster_together, judge.k3s_options(), judge.k3s_servers(), together)
        found += [(judge.host, sentence) for sentence in sentences]
    return found


def _out(options: t.Mapping[str, t.Any]) -> list[str]:
    out = options["app_deploy_edge_out"]
    return [name.strip() for name in (out.split(",") if isinstance(out, str) else list(out or [])) if name.strip()]


def undefined_secrets(checks: t.Mapping[str, HostChecks]) -> dict[str, str]:
    """Return the undefined variable behind each secret of an app by C(<app>/<service>/<secret>).

    A variable that something else needs too is left out: one sentence names all that needs it.
    """
    places: dict[str, set[str]] = {}
    for one in checks.values():
        for _role, missed in one.missing():
            places.setdefault(missed.variable, set()).add(missed.place)
    found: dict[str, str] = {}
    for variable, needing in places.items():
        secrets = [_readers(checks, place) for place in sorted(needing)]
        if variable and all(secrets):
            found |= dict.fromkeys((key for keys in secrets for key in keys), variable)
    return found


def _readers(checks: t.Mapping[str, HostChecks], place: str) -> list[str]:
    """Return C(<app>/<service>/<secret>) of each service that reads the secret at a place; none for another place.

    One in C(secrets) of an app is of the services of its Compose file, as far as a host has read that.
    """
    if each := APP_SECRET.fullmatch(place):
        return [f"{each[3]}/{each[2]}/{each[1]}"]
    each = ITEM_SECRET.fullmatch(place)
    judge = next((one for one in checks.values() if "app_deploy" in one.roles), None) if each else None
    read = judge.projects.get(each[2]) if each and judge else None
    if each is None or judge is None or read is None or read["project"] is None:
        return []
    apps = items(judge.view("app_deploy").options.get("app_deploy_apps"))
    app = next((one for one in apps if one.get("name") == each[2]), {})
    services = read["project"]["normal"].get("services") or {}
    return [
        f"{each[2]}/{name}/{each[1]}"
        for name, more in _compose_app.extensions(app, read["project"]).items()
        if each[1] in _compose_app.secret_names(services[name], more)
    ]


def app_stack_problems(app: Model, hosts: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    """Return what the linter says of every stack of a release: a colour, what runs beside it, and migrations."""
    names = list(hosts)
    try:
        stacks = [_stacks.colour(app, "blue", _ports.allocate(app), str(hosts[names[0]]["address"]))]
        stacks += [_stacks.background(app, host, names, str(hosts[host]["address"])) for host in names]
        stacks += [_stacks.migration(app, step) for step in app["migration"]]
        ready = [(one, _stacks.secrets(app, one), _stacks.waivers(app, one)) for one in stacks if one["services"]]
    except (*BROKEN, IndexError):
        return []  # what it lacks is named by the checks of the app
    found: dict[tuple[str, ...], str] = {}
    for definition, secrets, waivers in ready:
        for one in findings(_preflight.normalised(definition), secrets, waivers):
            # A service runs in several containers, and a migration in one more: each finding is told once.
            service = _stacks.service_of(one.service, definition["services"][one.service])
            if one.rule not in APP_RULES:
                said = one._replace(service=service).sentence(str(definition["name"]))
                found.setdefault((service, one.rule, one.found, one.detail), said)
    return list(found.values())
