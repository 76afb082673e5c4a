# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask every check of every role for every host at once, on the controller."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import load_extra_vars

from ansible_collections.evenkeel.platform.plugins.lookup.unsealed_vaults import unsealed
from ansible_collections.evenkeel.platform.plugins.module_utils import _preflight
from ansible_collections.evenkeel.platform.plugins.plugin_utils import _typed
from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import (
    SHARED,
    HostChecks,
    fleet_advice,
    fleet_problems,
    k3s_problems,
    undefined_secrets,
)
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import (
    DefaultsOnly,
    RoleFiles,
    RoleView,
    located,
)

display = Display()


class ActionModule(ActionBase):
    """Fail once with all problems of the run."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset({"facts", "roles", "groups", "out", "scope"})

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        variables, args = task_vars or {}, self._task.args
        scope = args.get("scope") or "full"
        if scope not in ("full", "hosts", "inventory"):
            raise AnsibleActionFail(f"preflight: scope: found {scope}, need full, hosts or inventory. Set scope.")
        out = [name for name in _words(args.get("out")) if name]
        extra = load_extra_vars(self._loader)
        problems = self._inventory(variables, _words(args.get("groups")))
        later: list[str] = []
        advice: list[str] = []
        if not problems and scope == "full":
            problems, later, advice = self._full(variables, args, out)
        elif not problems and scope == "hosts":
            problems = self._limit(variables, out)
        problems = [
            *self._typed(variables, extra),
            *(sentence for sentence in problems if not _typed.refused(sentence, extra)),
        ]
        roles = _words(args.get("roles")) or [role.name for role in _preflight.ROLES]
        checked = roles if scope == "full" and not problems else []
        result.update(changed=False, passed=not problems, checked=checked, problems=problems, later=later)
        if advice and not problems:
            result["warnings"] = ["\n".join(advice)]
        if later:
            display.v("To be checked once installed:\n" + "\n".join(f"  {line}" for line in later))
        if problems:
            result.update(failed=True, msg="\n".join(problems))
        return result

    def _typed(self, variables: dict[str, t.Any], extra: dict[str, t.Any]) -> list[str]:
        sources, playbooks = _sources(variables), str(variables.get("playbook_dir") or "")
        unknown = _typed.unknown_problems(extra, lambda name: _typed.mentioned(name, sources, playbooks))
        return unknown + _typed.value_problems(extra)

    def _inventory(self, variables: dict[str, t.Any], needed: list[str]) -> list[str]:
        """Judge the inventory itself: a play without a host is a success for Ansible."""
        groups = variables["groups"]
        if groups["all"] and all(groups.get(group) for group in needed):
            return []
        host = variables["inventory_hostname"]
        options = HostChecks(DefaultsOnly(self._loader), host, variables, {}, None).view("app_deploy").options
        names = {str(options[name]): name for name in ("app_deploy_edge_group", "app_deploy_app_group")}
        return _typed.group_problems(_sources(variables), groups, needed, names)

    def _limit(self, variables: dict[str, t.Any], out: list[str]) -> list[str]:
        """Judge the hosts that --limit leaves, whichever groups the play itself is for."""
        host = variables["inventory_hostname"]
        checks = HostChecks(DefaultsOnly(self._loader), host, variables, {}, None, ["app_deploy"])
        wrong = _preflight.out_problems(out, edges_of(checks))
        return wrong or fleet_limit(checks, self._present(variables), out)

    def _present(self, variables: dict[str, t.Any]) -> list[str]:
        limit = str(variables.get("ansible_limit") or "all")
        if "@" in limit:
            # The hosts of a retry file are known to the inventory alone.
            return list(variables["ansible_play_hosts_all"])
        lookup = self._shared_loader_obj.lookup_loader.get(
            "ansible.builtin.inventory_hostnames", loader=self._loader, templar=self._templar
        )
        return list(lookup.run([limit], variables=variables))

    def _full(
        self, variables: dict[str, t.Any], args: dict[str, t.Any], out: list[str]
    ) -> tuple[list[str], list[str], list[str]]:
        hostvars = variables["hostvars"]
        hosts = [host for host in variables["ansible_play_hosts_all"] if host not in out]
        more = {
            "hostvars": hostvars,
            "ansible_play_hosts_all": hosts,
            "ansible_check_mode": bool(self._task.check_mode),
        }
        files = RoleFiles(self._loader)
        views: dict[str, RoleView] = {}
        checks: dict[str, HostChecks] = {}
        unreachable: dict[str, str] = {}
        play = play_variables(variables, hostvars.raw_get(variables["inventory_hostname"]))
        fact = args.get("facts") or "__preflight_facts"
        answers = {
            one["app"]: one for host in hosts for one in (hostvars.raw_get(host).get(fact) or {}).get("projects") or []
        }
        for host in hosts:
            raw = {**hostvars.raw_get(host), **play}
            answer = raw.get(fact) or {}
            roles = _words(args.get("roles"))
            checks[host] = HostChecks(files, host, raw, more, answer.get("host"), roles, views, answers)
            if checks[host].roles and "host" not in answer:
                unreachable[host] = str(answer.get("unreachable_reason") or "no answer")
        return (*self._found(variables, checks, unreachable, out), fleet_advice(checks))

    def _found(
        self,
        variables: dict[str, t.Any],
        checks: dict[str, HostChecks],
        unreachable: dict[str, str],
        out: list[str],
    ) -> tuple[list[str], list[str]]:
        sources = _sources(variables)
        problems = [
            f"inventory: vault {path}: found it unencrypted, need it encrypted. Run ansible-vault encrypt {path}."
            for path in unsealed(sources, ["lab"])
        ]
        groups = list(dict.fromkeys(group for role in _preflight.ROLES for group in role.groups if group != "all"))
        if not any(one.roles for one in checks.values()) and not any(variables["groups"].get(one) for one in groups):
            problems.append(
                f"inventory: groups of {', '.join(sources)}: found no host in {', '.join(groups)}, need one in a group "
                "of a role. Add hosts to a group, or set -i to another inventory."
            )
        if unreachable:
            problems += _preflight.reach_problems(unreachable, edges_of(next(iter(checks.values()))))
        held = {host: one.facts["addresses"] for host, one in checks.items() if one.known}
        problems += _preflight.address_problems({host: one.address for host, one in checks.items()}, held)
        asked, breaches = [], set()
        for host, one in checks.items():
            asked += [(role, sentence, host) for role, sentence in one.problems()]
            breaches |= set(one.breaches())
        judge = next((host for host, one in checks.items() if "app_deploy" in one.roles), "")
        asked += [
            ("app_deploy", sentence, judge) for sentence in fleet_problems(checks, [*self._present(variables), *out])
        ]
        asked += [("k3s_cluster", sentence, host) for host, sentence in k3s_problems(checks)]
        own = {_subject(sentence) for _role, sentence, _host in asked if sentence not in breaches}
        asked = [one for one in asked if one[1] not in breaches or _subject(one[1]) not in own]
        problems += _missing(checks, f"ansible-vault edit {_vault(sources)}")
        problems += _placed(checks, asked)
        return list(dict.fromkeys(problems)), [line for one in checks.values() for line in one.later()]


def _subject(sentence: str) -> tuple[str, frozenset[str]]:
    """Return what a sentence is about: its role and the names before "found", however they are joined."""
    role, _colon, rest = sentence.partition(": ")
    words = re.findall(r"[\w.-]+", rest.partition(": found ")[0])
    return role, frozenset(words) - {"of", "on", "service", "app", "stack"}


def _placed(checks: dict[str, HostChecks], asked: list[tuple[str, str, str]]) -> list[str]:
    """Return each sentence once, with the place of what it is about, or the hosts where only some have it."""
    hosts: dict[str, list[str]] = {}
    places: dict[str, str] = {}
    for role, sentence, host in asked:
        # An app is one for all its hosts.
        hosts.setdefault(sentence, []).extend([] if role in SHARED else [host])
        if sentence not in places:
            places[sentence] = located(sentence, checks[host].written(role))
    every = {host for host, one in checks.items() if one.roles}
    found = []
    for sentence, those in hosts.items():
        everywhere = not those or len(set(those)) == len(every)
        clear = places[sentence] or everywhere or any(host in sentence for host in those)
        found.append(_with(sentence, places[sentence], [] if clear else those))
    return found


def play_variables(variables: t.Mapping[str, t.Any], raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the options that the play itself sets, such as those that a short name on the command line stands for.

    *variables* are those of the task, *raw* those that the same host has without the play.
    """
    prefixes = tuple(f"{role.name}_" for role in _preflight.ROLES)
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(prefixes) and (name not in raw or (raw[name] is not value and raw[name] != value))
    }


def edges_of(checks: HostChecks) -> list[str]:
    """Return the edges of the inventory."""
    return list(checks.raw["groups"].get(checks.view("app_deploy").options["app_deploy_edge_group"]) or [])


def fleet_limit(checks: HostChecks, present: list[str], out: list[str]) -> list[str]:
    """Return why the hosts of a run leave an edge, an app host or the record host out."""
    options, groups = checks.view("app_deploy").options, checks.raw["groups"]
    edges = edges_of(checks)
    app_hosts = list(groups.get(options["app_deploy_app_group"]) or [])
    record_host = options.get("app_deploy_record_host") or (edges[0] if edges else "")
    return _preflight.limit_problems([*present, *out], edges, app_hosts, record_host, "app_deploy")


def _sources(variables: t.Mapping[str, t.Any]) -> list[str]:
    return [str(source) for source in variables.get("ansible_inventory_sources") or []]


def _words(given: t.Any) -> list[str]:
    if isinstance(given, str):
        return [word.strip() for word in given.split(",")]
    return [str(one) for one in given or []]


def _with(sentence: str, where: str, hosts: list[str]) -> str:
    more = [where, *(["on " + ", ".join(hosts)] if hosts else [])]
    return sentence + "".join(f" ({one})" for one in more if one)


def _missing(checks: dict[str, HostChecks], vault: str) -> list[str]:
    """Name what is missing once, with each place that needs it, but for what the checks of the apps name."""
    told = set(undefined_secrets(checks).values())
    places: dict[str, list[tuple[str, str]]] = {}
    first: dict[str, str] = {}
    empty: list[tuple[str, str]] = []
    failed = []
    for one in checks.values():
        for role, missed in one.missing():
            if missed.variable and missed.variable in told:
                continue
            if missed.variable:
                places.setdefault(missed.variable, []).append((role, missed.place))
                first.setdefault(missed.variable, missed.origin)
            else:
                failed.append(_with(_preflight.template_problem(role, missed.place, missed.error), missed.origin, []))
        empty += [place for place in one.empty_secrets() if place not in empty]
    sentences = _preflight.missing_problems(places, vault)
    return [
        *(_with(sentence, first[name], []) for name, sentence in zip(places, sentences, strict=True)),
        *failed,
        *_preflight.empty_secret_problems(empty, vault),
    ]


def _vault(sources: list[str]) -> str:
    """Return the vault of the inventory, the one it has or the place for one."""
    folders = [
        Path(source) if Path(source).is_dir() else Path(source).parent for source in sources if "," not in source
    ]
    for folder in folders:
        for vault in sorted(folder.glob("group_vars/*/vault.y*ml")):
            return str(vault.relative_to(Path.cwd()) if vault.is_relative_to(Path.cwd()) else vault)
    return str((folders[0] if folders else Path("inventories/prod")) / "group_vars/all/vault.yml")
