# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_facts
author: The Evenkeel authors (@evenkeel)
version_added: 0.1.0
short_description: Gather the facts that the preflight checks need
description:
  - Reads distribution, disk, memory, addresses, ports in use with the programs that hold them, apt sources of Docker,
    keys of C(daemon.json), firewalls, versions and the calendar expressions that systemd refuses, in one call.
  - From a playbook it never fails. A host that cannot be reached, or that has no Python, has
    RV(unreachable_reason), so that M(evenkeel.platform.preflight) names it together with everything else.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
options:
  folders:
    description: Folders whose free space is read; of one that is not there yet, its nearest parent's.
    type: list
    elements: str
    default: [/var/lib, /opt]
  calendars:
    description:
      - Calendar expressions to check with C(systemd-analyze calendar).
      - From a playbook those of the host's options are added.
    type: list
    elements: str
    default: []
  apps:
    description: Apps of which M(evenkeel.platform.release_facts) is read too, so that a deploy asks each host once.
    type: list
    elements: str
    default: []
  parts:
    description: What this host is to O(apps), as O(evenkeel.platform.release_facts#module:parts).
    type: list
    elements: str
    choices: [edge, host, records, releases]
    default: []
  projects:
    description:
      - Compose files of apps to normalise by C(docker compose config), without the environment of the host.
      - From a playbook those of the apps are added on the first app host.
    type: list
    elements: dict
    default: []
    suboptions:
      app:
        description: Name of the app.
        type: str
        required: true
      release:
        description: The release they are read for.
        type: str
        required: true
      files:
        description: Text of each file by its path.
        type: dict
        required: true
      order:
        description: The paths of the Compose files, in the order in which they are merged.
        type: list
        elements: str
        required: true
      variables:
        description: What C(${...}) can see.
        type: dict
        required: true
      images:
        description: Whether registries are asked for its images, by M(evenkeel.platform.preflight_facts).
        type: bool
        default: false
  images:
    description:
      - Images to ask for in their registries, through the engine and with the logins that the host has.
      - From a playbook V(true), for those of O(apps).
    type: list
    elements: str
    default: []
  config_dir:
    description: Folder of Docker's C(config.json), which holds the logins.
    type: path
    default: ~/.docker
seealso:
  - module: evenkeel.platform.preflight
"""

EXAMPLES = r"""
- name: Read what the checks need
  evenkeel.platform.preflight_facts: {}
  register: __preflight_facts
"""

RETURN = r"""
host:
  description: What was found. Values of C(daemon.json) are not among it.
  returned: when the host could be read
  type: dict
  sample: {python: "3.13.5", memory_bytes: 4294967296, addresses: [192.0.2.21]}
releases:
  description: What M(evenkeel.platform.release_facts) returns, by app.
  returned: when the host could be read
  type: dict
  sample: {}
projects:
  description: The normal form of each of O(projects), or what Compose found wrong with it; both empty without Compose.
  returned: when the host could be read
  type: list
  elements: dict
  sample: [{app: shop, release: "1.0", normal: {services: {}}, error: "", unset: []}]
unreachable_reason:
  description: Why the host could not be read.
  returned: from a playbook, when the host could not be read
  type: str
  sample: "connection refused"
"""

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import (
    _compose_project,
    _compose_release,
    _host_facts,
    _registry,
    _release_facts,
)
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Commands, Engine
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

MODULE = "preflight_facts"
STATE_DIR = STATE_ARGUMENTS["state_dir"]["default"]
LOCK_DIR = STATE_ARGUMENTS["lock_dir"]["default"]
ADAPTER = {"adapter": "haproxy", "adapter_options": {}}

ARGUMENT_SPEC = {
    "folders": {"type": "list", "elements": "str", "default": ["/var/lib", "/opt"]},
    "calendars": {"type": "list", "elements": "str", "default": []},
    "apps": {"type": "list", "elements": "str", "default": []},
    "projects": {"type": "list", "elements": "dict", "default": [], "options": _compose_project.PROJECT_ARGUMENTS},
    "parts": {"type": "list", "elements": "str", "choices": list(_release_facts.PARTS), "default": []},
    "images": {"type": "list", "elements": "str", "default": []},
    "config_dir": {"type": "path", "default": _registry.CONFIG},
}
# A first run logs in later, and an engine that is not there is named otherwise.
NOT_YET = re.compile(
    r"401|unauthorized|no basic auth|authentication required|denied|x509|certificate|FileNotFound|ConnectionRefused",
    re.IGNORECASE,
)


def images_missing(images: list[str], engine: Engine, config_dir: Path) -> dict[str, list[str]]:
    """Return what was found and what to do, by each image that cannot be had; a silent registry is asked once."""
    found: dict[str, list[str]] = {}
    silent = set()
    for image in images:
        registry = _registry.registry_of(image)
        if registry in silent:
            continue
        try:
            engine.lookup(image, _registry.stored(config_dir, registry), "this host")
        except _compose_release.ReleaseError as exc:
            output = str(exc.result["output"])
            if not NOT_YET.search(output):
                found[image] = list(_compose_release.pull_cause(output))
                silent |= {registry} if exc.result["fault"] == "means" else set()
    return found


def main() -> None:
    module = AnsibleModule(ARGUMENT_SPEC, supports_check_mode=True)

    def run(argv: list[str]) -> tuple[int, str, str]:
        try:
            return module.run_command(argv, handle_exceptions=False, environ_update={"LC_ALL": "C"})
        except OSError as exc:
            return 127, "", str(exc)

    releases = {}
    try:
        for app in module.params["apps"] if module.params["parts"] else []:
            records = Records(MODULE, app, STATE_DIR, LOCK_DIR, 30.0, True)
            releases[app] = _release_facts.read(records, module.params["parts"], 100, run, ADAPTER)
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **failure.result)
    projects, images = [], list(module.params["images"])
    for asked in module.params["projects"]:
        projects.append(_compose_project.normalise(asked, module.get_bin_path("docker"), module.run_command))
        images += _compose_project.images(projects[-1]) if asked["images"] else []
    module.exit_json(
        changed=False,
        releases=releases,
        projects=projects,
        host={
            **_host_facts.gather(Path("/"), run, module.params["folders"], module.params["calendars"]),
            "images_missing": images_missing(
                list(dict.fromkeys(images)),
                Engine(Commands(module.run_command, None)),
                Path(module.params["config_dir"]),
            ),
        },
    )


if __name__ == "__main__":
    main()
