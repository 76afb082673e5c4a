# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every example of the pages is what our own preflight takes, each option with its type and against the others."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible.parsing.dataloader import DataLoader

from ansible_collections.evenkeel.platform.plugins.filter.edge import edge_problems
from ansible_collections.evenkeel.platform.plugins.filter.options import unknown_options
from ansible_collections.evenkeel.platform.plugins.module_utils import _app_problems, _preflight
from ansible_collections.evenkeel.platform.plugins.plugin_utils._checks import NO_FACTS, HostChecks
from ansible_collections.evenkeel.platform.plugins.plugin_utils._role_view import RoleFiles

ROOT = Path(__file__).resolve().parents[4]
PAGES = sorted([*ROOT.glob("roles/*/README.md"), *ROOT.glob("docs/guides/*.md"), *ROOT.glob("*/README.md")])
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROLES = {role.name: f"{role.name}_" for role in _preflight.ROLES}
# What examples read from the outside: a file, a password manager, the environment.
OUTSIDE = re.compile(r"\{\{\s*(?:lookup|query)\(.*?\)\s*\}\}")
SECRET = re.compile(r"\bvault_\w+")
HASH = "$6$salt$hash"
# A name that the pages have, with each role.
HOST = "data1"
# Values that stand for what only its owner knows.
ELLIPSIS = {"sha256:...": "sha256:" + "a" * 64, 'amd64: ""': "amd64: " + "a" * 64}


# Examples of single options leave these out.
CLUSTER = {"k3s_cluster_version": "v1.34.4+k3s1", "k3s_cluster_checksums": {"amd64": "a" * 64, "arm64": "a" * 64}}


class Example(NamedTuple):
    """The options of one role in one block."""

    page: str
    number: int
    role: str
    options: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.page} {self.number} {self.role}"


def blocks(page: Path) -> Iterator[tuple[int, Any]]:
    for number, match in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8")), 1):
        # A copy that is kept outside is a copy of what the vault has.
        text = OUTSIDE.sub("{{ vault_backup_key }}", match[1])
        for found, instead in ELLIPSIS.items():
            text = text.replace(found, instead)
        with tempfile.NamedTemporaryFile("w", suffix=".yml", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            yield number, DataLoader().load_from_file(file.name, trusted_as_template=True)


def mappings(data: Any) -> Iterator[dict[str, Any]]:
    """Return each mapping that may hold options: a file of variables, or what a play or a role of it sets."""
    if isinstance(data, dict):
        yield data
    for play in data if isinstance(data, list) else []:
        if isinstance(play, dict):
            yield play.get("vars") or {}
            for role in play.get("roles") or []:
                yield role.get("vars") or {} if isinstance(role, dict) else {}
            yield {key: value for key, value in play.items() if key.startswith(tuple(ROLES.values()))}


def examples() -> Iterator[Example]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        for number, data in blocks(page):
            if name.startswith("roles/postgres_backup/") and isinstance(data, list) and "engine" in data[0]:
                yield Example(name, number, "postgres_backup", {"postgres_backup_instances": data})
            for mapping in mappings(data):
                for role, prefix in ROLES.items():
                    options = {key: value for key, value in mapping.items() if str(key).startswith(prefix)}
                    if role == "postgres_backup":
                        # Instances and drills of them are for different hosts.
                        yield from (Example(name, number, role, {key: value}) for key, value in options.items())
                    elif options:
                        yield Example(name, number, role, dict(mapping))


EXAMPLES = list(examples())


def problems(checks: HostChecks, role: str) -> list[str]:
    """Return what the preflight says of one role, but for what only the templates of the role know."""
    view = checks.view(role)
    found = [*unknown_options(list(view.written), view.spec, role), *checks._breaches(view)]
    if role == "edge":
        host = {"name": HOST, "family": "Debian", "distribution": "Debian", "private": "192.0.2.11"}
        found += edge_problems(view.options.all(), {**host, "peers": ["192.0.2.12"]})
    elif role == "app_deploy":
        hosts = {HOST: {"address": "192.0.2.11", "memory_bytes": 2**33}}
        found += _app_problems.problems(view.options["app_deploy_apps"], hosts, [HOST])
    elif role != "docker_host":
        found += checks.asked(getattr(checks, f"_{role}"), view)
    return found


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_example_is_refused_for_nothing(example: Example) -> None:
    text = repr(example.options)
    secrets = {name: HASH if "login" in name or "hash" in name else f"{name}-4711" for name in SECRET.findall(text)}
    cluster = example.role == "k3s_cluster"
    groups = {group: [HOST] for group in ("all", *(("k3s_server",) if cluster else ("edge", "app", "data", "ops")))}
    raw = {
        "inventory_hostname": HOST,
        "groups": groups,
        "platform_address": "192.0.2.11",
        **(CLUSTER if cluster else {}),
        **secrets,
        **example.options,
    }
    raw["hostvars"] = {HOST: raw}
    more = {"hostvars": {HOST: raw}, "ansible_play_hosts_all": [HOST], "ansible_check_mode": False}
    checks = HostChecks(RoleFiles(DataLoader()), HOST, raw, more, NO_FACTS, [example.role])
    found = problems(checks, example.role)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("role", "options", "sentence"),
    [
        ("monitoring", {"monitoring_receivers": [{"name": "team", "kind": "fax"}]}, "found fax"),
        ("postgres_backup", {"postgres_backup_instances": [{"name": "shop", "engine": "logical"}]}, "encryption_key"),
        ("edge", {"edge_htpps_port": 444}, "edge_htpps_port"),
        ("app_deploy", {"app_deploy_apps": [{"name": "shop", "release": "latest"}]}, "latest"),
    ],
)
def test_planted_defect_of_an_example_is_seen(role: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        test_example_is_refused_for_nothing(Example("planted", 1, role, options))
