#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_release
short_description: Run a Compose stack as immutable releases
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes each version of a stack to a folder that is never changed again, with its images pinned to digests, starts
    it, and points the symlink C(current) at it once its services are healthy.
  - It calls C(docker compose) itself, so that one call checks under a lock, acts, and restores the former release if
    the act fails. Between two modules another run could act.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.guard
  - evenkeel.platform.state.folders
  - evenkeel.platform.registry
  - evenkeel.platform.registry.logins
attributes:
  check_mode:
    details:
      - On a host without Docker the definition cannot be normalised, and every stack counts as new.
      - Images that V(pulled) would pull are looked up in their registry by the engine.
      - O(guard) is not checked in check mode, since a dry run takes no lease and withdraws nothing.
  diff_mode:
    details: ["Shows the Compose file, which never contains secrets."]
options:
  name:
    description: Name of the stack, which is the name of its Compose project. Only V(pulled) needs none.
    type: str
  state:
    description:
      - V(present) checks the definition, pins its images, writes secrets and release, starts the containers and waits
        until they are healthy, points C(current) at the release, sets up the start at boot and removes old releases.
        If the start fails, the former release is started again, and the module fails with RV(evidence).
      - V(staged) does the same but starts nothing.
      - V(running) starts the stopped containers of the current release, and never re-creates one.
      - V(former) restores the release before the current one; with O(guard), the one before the first release of
        O(guard.move) on this host, which is the current one if that move brought none. If there was no release
        before, the containers are removed.
      - V(reduced) removes the containers of O(services) and leaves the others. A singleton that moves to another host
        stops here before it starts there.
      - V(restarted) restarts the containers of O(services) as they are, and waits until they are healthy.
      - V(steady) fails if a container of the stack is not running or not healthy, or was restarted by the engine in
        the last O(within_seconds).
      - V(stopped) stops the containers and keeps them from starting at boot.
      - V(absent) removes the containers, the releases and the secrets, and those volumes that O(volumes) names.
      - V(pulled) pulls O(images) and starts nothing. For a digest that this host has, no registry is contacted.
    type: str
    choices: [present, staged, running, former, reduced, restarted, steady, stopped, absent, pulled]
    default: present
  definition:
    description: The stack, as in a compose file. A dollar sign is written twice. For V(present) and V(staged).
    type: dict
  images:
    description:
      - For V(present) and V(staged), images by service that are pinned already, as V(registry/name@sha256:...).
      - For V(pulled), the images to pull, by any key.
    type: dict
    default: {}
  pull:
    description: When to contact the registry for an image that is not a digest.
    type: str
    choices: [missing, always, never]
    default: missing
  registries:
    description: For V(pulled), registries that need a login or have a certificate of a private authority.
  secrets:
    description: Secrets, each a file below C(/run/secrets) of its service.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file.
        type: str
        required: true
      service:
        description: The service that reads it.
        type: str
        required: true
      uid:
        description: The numeric user that the service runs as; V(-1) for the user of its image.
        type: int
        required: true
      value:
        description: The secret.
        type: str
        required: true
      as:
        description: V(environment) loads it inside the container at its start, and needs C(reason).
        type: str
        choices: [file, environment]
        default: file
      reason:
        description: Why the program reads its environment; without it, rule C(secrets-in-environment) refuses it.
        type: str
      variable:
        description: Name of the environment variable; the name in capitals when left out.
        type: str
  waivers:
    description: Rules that do not hold for a service, each with the reason.
    type: list
    elements: dict
    default: []
    suboptions:
      service:
        description: The service, or V(*) for all.
        type: str
        required: true
      rule:
        description: Name of the rule, as the refusal names it.
        type: str
        required: true
      reason:
        description: Why the rule does not hold.
        type: str
        required: true
  allow:
    description: Dangerous changes to make nevertheless, as named in the refusal.
    type: list
    elements: str
    default: []
  boot:
    description: For V(present), whether C(evenkeel-stack@.service) starts the stack at boot.
    type: bool
    default: false
  keep:
    description: How many releases to keep.
    type: int
    default: 5
  volumes:
    description: Names of the volumes to remove with V(absent), with or without the stack's name before it.
    type: list
    elements: str
    default: []
  services:
    description: For V(reduced) and V(restarted), the services whose containers are removed or restarted.
    type: list
    elements: str
    default: []
  shared:
    description:
      - Networks and volumes that outlive the stack and are external in its definition. Those that are missing are made
        before its containers, for V(present), V(staged), V(running) and V(former). V(absent) removes the networks that
        nothing else uses, and a volume only if O(volumes) names it.
    type: dict
    suboptions:
      networks:
        description: Rows with C(name), C(driver), C(driver_opts), C(enable_ipv6), C(internal) and C(labels).
        type: list
        elements: dict
        default: []
      volumes:
        description: Rows with C(name), C(driver), C(driver_opts) and C(labels).
        type: list
        elements: dict
        default: []
  files:
    description: Files that the definition mounts from C(./files), whose path begins with a hash of the content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path below C(files).
        type: str
        required: true
      data:
        description: Content in base64.
        type: str
        required: true
      mode:
        description: Mode in octal digits.
        type: str
        default: "0444"
  record:
    description:
      - What the release of the app is, with C(identity), C(release), C(hash) and C(content). With O(guard) it is stored
        on this host, so that the records can be rebuilt if the record host is lost.
    type: dict
  retire:
    description:
      - With O(guard), the order to stop a colour that the move left. C(evenkeel-retire) stops it once every edge shows
        it withdrawn at O(guard.move).
    type: dict
    suboptions:
      colour:
        description: The colour to stop.
        type: str
        choices: [blue, green]
        required: true
      stack:
        description: The stack of that colour.
        type: str
        required: true
  wait_timeout_seconds:
    description: How long the services may take to become healthy.
    type: int
    default: 120
  within_seconds:
    description: How far back V(steady) looks for restarted containers.
    type: int
    default: 120
  beside:
    description: Another stack of this host, whose services V(steady) returns, for what comes next.
    type: str
    default: ""
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
seealso:
  - module: evenkeel.platform.registry_login
"""

EXAMPLES = r"""
- name: Run the cache
  evenkeel.platform.compose_release:
    name: cache
    definition:
      services:
        valkey:
          image: registry.example.com/valkey:8.0
          restart: unless-stopped
    boot: true

- name: Start the idle colour of the shop
  evenkeel.platform.compose_release:
    name: shop-green
    definition: "{{ definition }}"
    guard:
      app: shop
      token: 42
      run: 20261130T101500Z-00af3e
      move: 12
      colour: green
      edges:
        - {name: edge1, url: "http://192.0.2.10:8405/live/shop"}

- name: Pull an image and return its digest
  evenkeel.platform.compose_release:
    state: pulled
    images:
      api: registry.example.com/shop/app:1.1
"""

RETURN = r"""
release:
  description: The release in question.
  returned: always
  type: str
  sample: 3-9f2b61c04a7e
current:
  description: The release the pointer names at the end.
  returned: always
  type: str
  sample: 3-9f2b61c04a7e
previous:
  description: The release the pointer named before.
  returned: always
  type: str
  sample: 2-5d1a0c7710fe
project_src:
  description: Folder of the release.
  returned: always
  type: str
  sample: /opt/evenkeel/stacks/shop-blue/releases/3-9f2b61c04a7e
pending:
  description: Whether pointer, boot or containers differed from what is wanted.
  returned: always
  type: bool
  sample: true
written:
  description: Whether the release's folder is there.
  returned: always
  type: bool
  sample: true
images:
  description: The pinned images by service.
  returned: always
  type: dict
  sample: {api: "registry.example.com/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"}
beside:
  description: The services of O(beside) that have a container, running or not.
  returned: O(state=steady)
  type: list
  elements: str
  sample: [bot, worker]
waived:
  description: The rules that were broken and waived.
  returned: always
  type: list
  elements: dict
  sample: [{service: api, rule: read-only, reason: It writes its cache beside its code.}]
actions:
  description: What was done, or would be in check mode.
  returned: always
  type: list
  elements: str
  sample: ["wrote release 3-9f2b61c04a7e", "re-created service api", "pointed current at 3-9f2b61c04a7e"]
evidence:
  description: How the services of a failed release ended, with their last log lines.
  returned: always
  type: list
  elements: str
  sample: ["service api: exited; exit code 3"]
reason:
  description: Why the module failed, in one sentence.
  returned: always
  type: str
  sample: ""
fault:
  description:
    - What is to blame for a failure, V(release) or V(means), which is the host, its disk, its ports or a registry.
    - Empty without a failure.
  returned: always
  type: str
  sample: means
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as releases
from ansible_collections.evenkeel.platform.plugins.module_utils import _registry as registry
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Commands, Engine
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import ReleaseError
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_secrets import SECRET_ARGUMENTS
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_states import EMPTY, States, pulled
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import GUARD_ARGUMENTS, Guard, acting

STATES = ["present", "staged", "running", "former", "reduced", "restarted", "steady", "stopped", "absent", "pulled"]
ARGUMENT_SPEC: dict[str, Any] = {
    **GUARD_ARGUMENTS,
    **registry.FOLDER_ARGUMENTS,
    "name": {"type": "str"},
    "state": {"type": "str", "choices": STATES, "default": "present"},
    "definition": {"type": "dict"},
    "images": {"type": "dict", "default": {}},
    "pull": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
    "registries": {"type": "list", "elements": "dict", "default": [], "options": registry.LOGIN_ARGUMENTS},
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": SECRET_ARGUMENTS},
    "waivers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "service": {"type": "str", "required": True},
            "rule": {"type": "str", "required": True},
            "reason": {"type": "str", "required": True},
        },
    },
    "allow": {"type": "list", "elements": "str", "default": []},
    "boot": {"type": "bool", "default": False},
    "keep": {"type": "int", "default": 5},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "services": {"type": "list", "elements": "str", "default": []},
    "shared": {
        "type": "dict",
        "options": {
            "networks": {"type": "list", "elements": "dict", "default": []},
            "volumes": {"type": "list", "elements": "dict", "default": []},
        },
    },
    "files": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "path": {"type": "str", "required": True},
            "data": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0444"},
        },
    },
    "record": {"type": "dict"},
    "retire": {
        "type": "dict",
        "options": {
            "colour": {"type": "str", "choices": ["blue", "green"], "required": True},
            "stack": {"type": "str", "required": True},
        },
    },
    "wait_timeout_seconds": {"type": "int", "default": 120},
    "within_seconds": {"type": "int", "default": 120},
    "beside": {"type": "str", "default": ""},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}


def run(module: AnsibleModule) -> dict[str, Any]:
    """Bring the stack into the wanted state, under the locks of its app and of the stack itself."""
    state, name = module.params["state"], module.params["name"]
    guard = Guard.of(module, "compose_release")
    engine = Engine(Commands(module.run_command, module.get_bin_path("docker"), guard))
    if state == "pulled":
        if guard:
            guard.enter()
        return pulled(engine, module.params, module.check_mode)
    if not releases.NAME.match(name):
        raise ReleaseError(
            f"compose_release: name on stack {name}: found {name}, need lower-case letters, digits and hyphens. "
            "Set compose_stack_name."
        )
    stack = Stack(name, module.params["base_dir"])
    with acting(guard), stack.lock():
        result = States(engine, stack, module.params, module.check_mode, guard).table()[state]()
        if guard:
            # Both are of the move that this act follows, so they are written under its lock.
            if module.params["record"]:
                guard.keep_release(module.params["record"])
            if module.params["retire"]:
                actions = guard.leave_order(**module.params["retire"])
                result.update(actions=[*result["actions"], *actions], changed=bool(result["changed"] or actions))
        return result


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "present", ["name", "definition"]),
            ("state", "staged", ["name", "definition"]),
            *(("state", state, ["name"]) for state in ("running", "former", "steady", "stopped", "absent")),
            ("state", "reduced", ["name", "services"]),
            ("state", "restarted", ["name", "services"]),
            ("state", "pulled", ["images"]),
        ],
    )
    result = dict(EMPTY)
    try:
        result.update(run(module))
    except Failure as failure:
        fault = "release" if isinstance(failure, ReleaseError) else "means"
        result.update({"reason": failure.sentence.partition("\n")[0], "fault": fault, **failure.result})
        module.fail_json(msg=failure.sentence, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
