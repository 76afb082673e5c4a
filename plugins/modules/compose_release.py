#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: compose_release
short_description: Keep the releases of a compose stack
version_added: 0.1.0
author: The Evenkeel authors (@evenkeel)
description:
  - Writes each version of a stack to a folder that never changes again, with its images pinned to digests,
    and lets the pointer C(current) name the one that was seen to run.
  - It starts nothing on the way up; M(community.docker.docker_compose_v2) does. It goes back, stops and removes.
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
    details:
      - On a host without Docker the definition cannot be normalised, and every stack counts as new.
  diff_mode:
    support: full
    description: Returns the compose file before and after. Secrets never stand in it.
  idempotent:
    support: full
    description: When run twice in a row with the same arguments, the second invocation indicates no change.
    details:
      - V(reverted) always fails, since something failed before it.
options:
  name:
    description: Name of the stack, which is the name of its compose project. Only V(pulled) goes without.
    type: str
  state:
    description:
      - V(rendered) checks the definition, pins its images and writes the release.
      - V(current) lets the pointer name O(release), marks the stack for the next boot or not, and removes old releases.
      - V(reverted) starts the release the pointer names again after O(release) failed, and fails with the reasons.
      - V(steady) fails where a container of the stack does not run well, or was started again by the engine in the
        last O(within_seconds).
      - V(stopped) stops the containers and keeps them from starting at boot.
      - V(absent) removes the containers, the releases and the secrets, and those volumes that O(volumes) names.
      - V(pulled) brings O(images) here and starts nothing.
    type: str
    choices: [rendered, current, reverted, steady, stopped, absent, pulled]
    default: rendered
  definition:
    description: The stack, as in a compose file. A dollar sign is written twice. For V(rendered).
    type: dict
  images:
    description:
      - For V(rendered), images by service that are pinned already, as V(registry/name@sha256:...).
      - For V(pulled), the images to bring here, by any key.
    type: dict
    default: {}
  pull:
    description: When to ask the registry for an image.
    type: str
    choices: [missing, always, never]
    default: missing
  secrets:
    description: RV(evenkeel.platform.compose_secrets#module:mounts) of M(evenkeel.platform.compose_secrets).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the secret.
        type: str
        required: true
      service:
        description: The service that reads it.
        type: str
        required: true
      uid:
        description: The user it belongs to.
        type: int
        required: true
      version:
        description: The version of the service's secrets.
        type: str
        required: true
      as:
        description: How the program reads it.
        type: str
        choices: [file, environment]
        default: file
      reason:
        description: Why the program reads its environment; without it, rule C(secrets-in-environment) refuses it.
        type: str
      variable:
        description: Name of the environment variable.
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
    description: Dangerous changes to make all the same, as the refusal names them.
    type: list
    elements: str
    default: []
  release:
    description: The release for V(current) and V(reverted).
    type: str
  cause:
    description: What the start of the release failed with, for the sentence of V(reverted).
    type: str
  boot:
    description: Whether the stack is to be started at boot. For V(rendered) and V(current).
    type: bool
    default: true
  keep:
    description: How many releases to keep.
    type: int
    default: 5
  volumes:
    description: Names of the volumes to remove with V(absent), with or without the stack's name before it.
    type: list
    elements: str
    default: []
  wait_timeout_seconds:
    description: How long V(reverted) waits for the release before to be healthy.
    type: int
    default: 120
  within_seconds:
    description: How far back V(steady) looks for containers that were started again.
    type: int
    default: 120
  base_dir:
    description: Folder of all stacks.
    type: path
    default: /opt/evenkeel/stacks
"""

EXAMPLES = r"""
- name: Write a release of the shop
  evenkeel.platform.compose_release:
    name: shop-blue
    definition:
      services:
        api:
          image: registry.example.com/shop/app:1.0
          restart: unless-stopped

- name: Bring an image here and learn its digest
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
  sample: 2-5d1a0c7710fe
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
  description: Whether the pointer or the mark for the boot has to follow.
  returned: always
  type: bool
  sample: true
images:
  description: The pinned images by service.
  returned: always
  type: dict
  sample: {api: "registry.example.com/shop/app@sha256:0000000000000000000000000000000000000000000000000000000000000000"}
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
  sample: ["wrote release 3-9f2b61c04a7e"]
evidence:
  description: How the services of a failed release ended, with their last log lines.
  returned: always
  type: list
  elements: str
  sample: ["service api: exited; exit code 3"]
"""

import datetime
import json
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_guard as guard
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy as policy
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as releases
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Commands, Engine
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import ReleaseError
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str"},
    "state": {
        "type": "str",
        "choices": ["rendered", "current", "reverted", "steady", "stopped", "absent", "pulled"],
        "default": "rendered",
    },
    "definition": {"type": "dict"},
    "images": {"type": "dict", "default": {}},
    "pull": {"type": "str", "choices": ["missing", "always", "never"], "default": "missing"},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "service": {"type": "str", "required": True},
            "uid": {"type": "int", "required": True},
            "version": {"type": "str", "required": True},
            "as": {"type": "str", "choices": ["file", "environment"], "default": "file"},
            "reason": {"type": "str"},
            "variable": {"type": "str"},
        },
    },
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
    "release": {"type": "str"},
    "cause": {"type": "str"},
    "boot": {"type": "bool", "default": True},
    "keep": {"type": "int", "default": 5},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "wait_timeout_seconds": {"type": "int", "default": 120},
    "within_seconds": {"type": "int", "default": 120},
    "base_dir": {"type": "path", "default": "/opt/evenkeel/stacks"},
}


def pin(
    engine: Engine,
    wanted: dict[str, str],
    given: dict[str, str],
    recorded: dict[str, Any],
    pull: str,
    check: bool,
    where: str,
) -> tuple[dict[str, str], dict[str, dict[str, Any]], list[str], list[str]]:
    """Return pinned images, what is known of each, what check mode leaves open, and the images pulled."""
    pins: dict[str, str] = {}
    known: dict[str, dict[str, Any]] = {}
    open_ends: list[str] = []
    pulled: list[str] = []
    problems: list[str] = []
    done: dict[str, Any] = {}
    for key in sorted(wanted):
        reference = given.get(key) or wanted[key]
        if key in given and not check and not policy.split_reference(reference)["digest"].startswith("sha256:"):
            problems.append(
                f"compose_release: image on {key} {where}: found {reference}, need a digest. "
                "Pin it in compose_stack_images."
            )
            continue
        if reference not in done:
            try:
                done[reference] = _pin_one(engine, reference, recorded, pull, check, where, pulled)
            except ReleaseError as exc:
                problems.extend(exc.problems)
                done[reference] = None
        if done[reference] is None:
            continue
        pinned, image = done[reference]
        if not pinned:
            open_ends.append(key)
        pins[key] = pinned or reference
        if image is not None:
            known[key] = dict(image, local=not policy.split_reference(pins[key])["digest"])
    if problems:
        raise ReleaseError(*dict.fromkeys(problems))
    return pins, known, open_ends, pulled


def _pin_one(
    engine: Engine, reference: str, recorded: dict[str, Any], pull: str, check: bool, where: str, pulled: list[str]
) -> tuple[str, dict[str, Any] | None]:
    digest = policy.split_reference(reference)["digest"]
    before = engine.image(reference)
    image = None if pull == "always" and not digest and not check else before
    preferred = recorded.get(reference)
    if image is None and preferred and pull == "missing":
        image = engine.image(preferred)
    if image is None and not check:
        if pull == "never":
            raise ReleaseError(
                f"compose_release: image {reference} on {where}: found it missing on the host, need it here. "
                "Set compose_stack_pull to missing, or pull it before."
            )
        engine.pull(reference, where)
        image = engine.image(reference)
        if image is not None and (before is None or before["id"] != image["id"]):
            pulled.append(reference)
    if image is None:
        return (reference if digest else ""), None
    if digest:
        return reference, image
    # An image that was built here has no digest; its own id is as immutable, and the rule local-image names it.
    return releases.pick_digest(reference, image["digests"], preferred) or image["id"], image


def facts_of(definition: dict[str, Any], images: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the guards must know of each service."""
    found = {}
    for name, service in definition["services"].items():
        reference = policy.split_reference(str(service["image"]))
        image = images.get(name) or {}
        found[name] = {
            "image": service["image"],
            "mounts": guard.mounts(service, definition.get("volumes") or {}),
            "database": guard.database(
                reference["repository"], reference["tag"], image.get("environment") or [], image.get("labels") or {}
            ),
        }
    return found


def data_on_disk(engine: Engine, services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the data of PostgreSQL services says of its own version."""
    found = {}
    for name, service in services.items():
        if (service["database"] or {}).get("engine") != "postgres":
            continue
        for mount in service["mounts"]:
            number = engine.pg_version(mount["name"]) if mount["type"] == "volume" else None
            if number is not None:
                found[name] = {"engine": "postgres", "major": number}
    return found


def rendered(module: AnsibleModule, engine: Engine, stack: Stack) -> dict[str, Any]:
    """Check, pin and write."""
    params = module.params
    definition = params["definition"] or {}
    problems = policy.unsupported(definition, stack.name)
    if problems:
        raise ReleaseError(*problems)
    current = stack.current()
    result: dict[str, Any] = {"previous": current, "current": current}
    if not engine.commands.available and not module.check_mode:
        raise ReleaseError(
            f"compose_release: docker on stack {stack.name}: found no command of that name on the host, "
            "need the engine with compose v2. Run the docker_host role."
        )
    if module.check_mode and not engine.answers():
        return dict(result, changed=True, pending=True, actions=["would write a release, once Docker is there"])
    where = f"stack {stack.name}"
    before = stack.record(current)
    normal = engine.normalise(definition, stack)
    services = normal["services"]
    problems += policy.waiver_problems(params["waivers"], services, stack.name)
    problems += releases.secret_problems(params["secrets"], services, stack.name)
    # Without the images the rules still hold; they are asked first, so that nothing is pulled in vain.
    in_environment = {
        entry["service"] for entry in params["secrets"] if entry["as"] == "environment" and not entry["reason"]
    }
    findings = policy.unwaived(policy.lint(services, None, in_environment), params["waivers"])
    early = [finding for finding in findings if finding.rule not in ("healthcheck", "root-user")]
    if problems or early:
        raise ReleaseError(*problems, *(finding.sentence(stack.name) for finding in findings))
    recorded = {
        entry["image"]: before["images"][name]
        for name, entry in (before.get("services") or {}).items()
        if name in (before.get("images") or {})
    }
    pins, images, open_ends, pulled = pin(
        engine,
        {name: str(service["image"]) for name, service in services.items()},
        params["images"],
        recorded,
        params["pull"],
        module.check_mode,
        where,
    )
    actions = [f"pulled {reference}" for reference in pulled]
    findings = policy.lint(services, images, in_environment)
    problems += [
        finding.sentence(stack.name)
        for finding in policy.unwaived(findings, params["waivers"])
        if finding.service in images or finding not in early
    ]
    after = facts_of(normal, images)
    dangers = guard.dangers(before.get("services") or {}, after, data_on_disk(engine, after))
    problems += [danger.sentence(stack.name) for danger in dangers if danger.token not in params["allow"]]
    final = releases.assemble(normal, pins, params["secrets"], images, str(stack.path))
    text = releases.render(final)
    if problems and not (module.check_mode and open_ends):
        raise ReleaseError(*problems)
    values = stack.secret_values()
    leaks = releases.leaked(text, values) + releases.leaked(
        text, {name: json.dumps(value)[1:-1] for name, value in values.items()}
    )
    if leaks:
        raise ReleaseError(
            *(
                f"compose_release: value of secret {name.partition('/')[2]} on {where}: found it in the definition, "
                "need it in the secret only. Read it from /run/secrets."
                for name in sorted(set(leaks))
            )
        )
    content = releases.digest_of(text)
    folder, exists = releases.folder_for(content, stack.folders())
    if not exists:
        actions.append(f"wrote release {folder}")
    if not exists and not module.check_mode:
        record = {
            "schema": 1,
            "stack": stack.name,
            "release": folder,
            "hash": content,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "images": pins,
            "services": after,
            "secret_versions": {entry["service"]: entry["version"] for entry in params["secrets"]},
            "waivers": params["waivers"],
        }
        stack.write(folder, {"compose.yaml": text, "release.json": json.dumps(record, indent=2, sort_keys=True) + "\n"})
    reasons = {(entry["service"], entry["rule"]): entry["reason"] for entry in params["waivers"]}
    return dict(
        result,
        changed=bool(actions),
        actions=actions,
        release=folder,
        project_src=str(stack.releases / folder),
        written=exists or not module.check_mode,
        pending=current != folder or stack.boots() != params["boot"],
        images=pins,
        waived=[
            {
                "service": finding.service,
                "rule": finding.rule,
                "reason": reasons.get((finding.service, finding.rule)) or reasons.get(("*", finding.rule), ""),
            }
            for finding in findings
        ],
        diff={
            "before": stack.text(current),
            "after": text,
            "before_header": f"{stack.name} {current or 'no release'}",
            "after_header": f"{stack.name} {folder}",
        },
    )


def pointed(module: AnsibleModule, stack: Stack) -> dict[str, Any]:
    """Let the pointer name a release that was seen to run."""
    folder, boot = module.params["release"], module.params["boot"]
    # In check mode a new release has no folder yet.
    if not module.check_mode and not stack.file(folder).is_file():
        raise ReleaseError(
            f"compose_release: release on stack {stack.name}: found no folder {folder}, need one of "
            f"{', '.join(stack.folders()) or 'none'}. Render it first."
        )
    current = stack.current()
    actions = []
    if current != folder:
        actions.append(f"pointed current at {folder}")
    if stack.boots() != boot:
        actions.append("marked for the boot" if boot else "no longer marked for the boot")
    if actions and not module.check_mode:
        if current != folder:
            stack.point(folder)
        stack.set_boot(boot)
        actions += [f"removed release {gone}" for gone in stack.prune(module.params["keep"], [folder, current])]
    return {
        "changed": bool(actions),
        "actions": actions,
        "previous": current,
        "current": folder,
        "release": folder,
        "project_src": str(stack.releases / folder),
        "images": stack.record(folder).get("images") or {},
    }


def reverted(module: AnsibleModule, engine: Engine, stack: Stack) -> dict[str, Any]:
    """Go back to the release the pointer names, and fail with what was seen."""
    failed, current = module.params["release"], stack.current()
    values = list(stack.secret_values().values())
    # What the engine said of the failure comes back among the arguments.
    module.no_log_values.update(value for value in values if len(value) >= 4)
    evidence = engine.explain(stack.name, values)
    result = {"previous": current, "current": current, "release": failed, "evidence": evidence, "actions": []}
    seen = "\n".join(evidence) or "no service was left to ask"
    cause = releases.mask(" ".join((module.params["cause"] or "").split())[:300], values)
    what = f"compose_release: release {failed} on stack {stack.name}: found it not healthy" + (
        f" ({cause})" if cause else ""
    )
    if module.check_mode:
        raise ReleaseError(
            f"{what}, need every service running and healthy. Correct it and run again.\n{seen}", **result
        )
    if current == failed:
        raise ReleaseError(
            f"{what}, need every service running and healthy. It is the current release, so there is none "
            f"to go back to; correct it and run again.\n{seen}",
            **result,
        )
    if current is None:
        reply = engine.compose(stack, failed, "down", "--remove-orphans")
        done = "there was no release before, so it was taken down and its volumes kept"
    else:
        reply = engine.compose(
            stack,
            current,
            "up",
            "--detach",
            "--no-build",
            "--pull",
            "missing",
            "--remove-orphans",
            "--wait",
            "--wait-timeout",
            str(module.params["wait_timeout_seconds"]),
        )
        done = f"release {current} runs again"
    result["changed"] = True
    result["actions"] = [done]
    if reply.rc != 0:
        after = engine.explain(stack.name, values)
        done = f"and going back to {current or 'nothing'} failed as well ({reply.stderr.strip()[-300:]})"
        seen += "\n" + "\n".join(after)
        result.update(actions=[done], rc=reply.rc, stderr=releases.mask(reply.stderr, values))
    raise ReleaseError(
        f"{what}, need every service running and healthy; {done}. Correct it and run again.\n{seen}", **result
    )


def steady(module: AnsibleModule, engine: Engine, stack: Stack) -> dict[str, Any]:
    """Fail where the engine knows better than the last answers of the program."""
    current = stack.current()
    result: dict[str, Any] = {"previous": current, "current": current, "release": current}
    # A dry run started nothing that could be asked.
    services = [] if module.check_mode else engine.unsteady(stack.name, module.params["within_seconds"])
    if not services:
        return result
    values = list(stack.secret_values().values())
    evidence = engine.explain(stack.name, values)
    raise ReleaseError(
        f"compose_release: service {', '.join(services)} on stack {stack.name}: found it ended, unhealthy or started "
        f"again, need every container running since its start. Read its last log lines.",
        **result,
        evidence=evidence,
    )


def stopped(module: AnsibleModule, engine: Engine, stack: Stack) -> dict[str, Any]:
    """Stop what runs and keep it from starting at boot."""
    current = stack.current()
    actions = []
    if stack.boots():
        actions.append("no longer marked for the boot")
    running = [
        entry
        for entry in (engine.containers(stack.name) if engine.commands.available else [])
        if (entry.get("State") or {}).get("Running")
    ]
    if running:
        actions.append(f"stopped {len(running)} containers")
    if actions and not module.check_mode:
        stack.set_boot(False)
        reply = engine.compose(stack, current, "stop") if running else None
        if reply is not None and reply.rc != 0:
            raise ReleaseError(
                f"compose_release: containers on stack {stack.name}: found them running "
                f"({reply.stderr.strip()[-300:]}), need them stopped. Look at the engine.",
                rc=reply.rc,
            )
    return {"changed": bool(actions), "actions": actions, "previous": current, "current": current, "release": current}


def absent(module: AnsibleModule, engine: Engine, stack: Stack) -> dict[str, Any]:
    """Remove everything but the volumes that nobody typed."""
    current = stack.current()
    there = engine.commands.available and (not module.check_mode or engine.answers())
    containers = engine.containers(stack.name) if there else []
    has = engine.volumes(stack.name) if there else []
    evidence = engine.explain(stack.name, list(stack.secret_values().values())) if containers else []
    actions = []
    if containers:
        actions.append(f"removed {len(containers)} containers")
    typed = {f"{stack.name}_{name}" for name in module.params["volumes"]} | set(module.params["volumes"])
    doomed = [name for name in has if name in typed]
    actions += [f"removed volume {name}" for name in doomed]
    if stack.path.is_dir():
        actions.append(f"removed {stack.path}")
    kept = [name for name in has if name not in typed]
    if actions and not module.check_mode:
        stack.set_boot(False)
        replies = [engine.compose(stack, None, "down", "--remove-orphans")] if there else []
        replies += [engine.commands("volume", "rm", name) for name in doomed]
        for reply in replies:
            if reply.rc != 0:
                raise ReleaseError(
                    f"compose_release: removal on stack {stack.name}: found {reply.stderr.strip()[-300:]}, "
                    "need it gone. Look at the engine.",
                    rc=reply.rc,
                )
        if stack.path.is_dir():
            shutil.rmtree(stack.path)
    actions += [f"kept volume {name}" for name in kept] if actions else []
    changed = any(not action.startswith("kept") for action in actions)
    return {
        "changed": changed,
        "actions": actions,
        "previous": current,
        "current": None,
        "release": current,
        "evidence": evidence,
    }


def pulled(module: AnsibleModule, engine: Engine) -> dict[str, Any]:
    """Bring images here."""
    if not (engine.answers() if module.check_mode else engine.commands.available):
        if module.check_mode:
            actions = ["would pull, once Docker is there"]
            return {"changed": bool(module.params["images"]), "actions": actions, "images": module.params["images"]}
        raise ReleaseError(
            "compose_release: docker on this host: found no command of that name, need the engine. "
            "Run the docker_host role."
        )
    pins, _known, open_ends, new = pin(
        engine, module.params["images"], {}, {}, module.params["pull"], module.check_mode, "this host"
    )
    actions = [f"pulled {reference}" for reference in new] + [
        f"would pull {module.params['images'][key]}" for key in open_ends
    ]
    return {"changed": bool(actions), "actions": actions, "images": pins}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "rendered", ["name", "definition"]),
            ("state", "current", ["name", "release"]),
            ("state", "reverted", ["name", "release"]),
            ("state", "steady", ["name"]),
            ("state", "stopped", ["name"]),
            ("state", "absent", ["name"]),
            ("state", "pulled", ["images"]),
        ],
    )
    engine = Engine(Commands(module.run_command, module.get_bin_path("docker")))
    result: dict[str, Any] = {
        "changed": False,
        "actions": [],
        "release": None,
        "current": None,
        "previous": None,
        "project_src": None,
        "pending": False,
        "written": False,
        "images": {},
        "waived": [],
        "evidence": [],
    }
    state, name = module.params["state"], module.params["name"]
    try:
        if state == "pulled":
            result.update(pulled(module, engine))
        else:
            if not releases.NAME.match(name):
                raise ReleaseError(
                    f"compose_release: name on stack {name}: found {name}, need lower-case letters, digits and "
                    "hyphens. Set compose_stack_name."
                )
            stack = Stack(name, module.params["base_dir"])
            with stack.lock():
                if state == "rendered":
                    result.update(rendered(module, engine, stack))
                elif state == "current":
                    result.update(pointed(module, stack))
                elif state == "reverted":
                    result.update(reverted(module, engine, stack))
                elif state == "steady":
                    result.update(steady(module, engine, stack))
                elif state == "stopped":
                    result.update(stopped(module, engine, stack))
                else:
                    result.update(absent(module, engine, stack))
    except ReleaseError as exc:
        result.update(exc.evidence)
        module.fail_json(msg=str(exc), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
