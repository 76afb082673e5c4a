# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A release made of a definition: checked, pinned, and written as a folder. PRIVATE to the collection."""

from __future__ import annotations

import base64
import datetime
import json
from typing import Any, NamedTuple

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_guard as guards
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy as policy
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_present as present
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as releases
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_secrets as secrecy
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Engine
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import ReleaseError
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack

# These are only certain once the image is known.
LATE_RULES = ("healthcheck", "root-user")
# The user of a secret whose service names none.
IMAGE_USER = -1


class Build(NamedTuple):
    """A release that is ready to be written."""

    folder: str
    exists: bool
    text: str
    record: dict[str, Any]
    secrets: list[dict[str, Any]]
    key: bytes
    waived: list[dict[str, str]]
    actions: list[str]


class Pins:
    """Finds the digest of each image, and brings here what is missing."""

    def __init__(self, engine: Engine, pull: str, check_mode: bool, where: str) -> None:
        self.engine = engine
        self.pull = pull
        self.check_mode = check_mode
        self.where = where
        self.pulled: list[str] = []
        self.unknown: list[str] = []
        self._found: dict[str, tuple[str, dict[str, Any] | None] | None] = {}

    def of(
        self, wanted: dict[str, str], given: dict[str, str], recorded: dict[str, Any]
    ) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
        """Return pinned images and what is known of each, by service; all problems at once."""
        pins: dict[str, str] = {}
        known: dict[str, dict[str, Any]] = {}
        problems: list[str] = []
        faults: list[str] = []
        for key in sorted(wanted):
            reference = given.get(key) or wanted[key]
            digest = policy.split_reference(reference)["digest"]
            if key in given and not self.check_mode and not digest.startswith("sha256:"):
                problems.append(
                    f"compose_release: image on {key} {self.where}: found {reference}, need a digest. "
                    "Pin it in compose_stack_images."
                )
                continue
            if reference not in self._found:
                try:
                    self._found[reference] = self._one(reference, recorded)
                except ReleaseError as exc:
                    problems.extend(exc.problems)
                    faults.append(str(exc.result.get("fault") or ""))
                    self._found[reference] = None
            found = self._found[reference]
            if found is None:
                continue
            if not found[0]:
                self.unknown.append(key)
            pins[key] = found[0] or reference
            if found[1] is not None:
                known[key] = dict(found[1], local=not policy.split_reference(pins[key])["digest"])
        if problems:
            fault = "means" if faults and set(faults) == {"means"} else "release"
            raise ReleaseError(*dict.fromkeys(problems), fault=fault)
        return pins, known

    def _one(self, reference: str, recorded: dict[str, Any]) -> tuple[str, dict[str, Any] | None]:
        digest = policy.split_reference(reference)["digest"]
        before = self.engine.image(reference)
        # What a digest names never changes, so one that is here is never asked for again.
        image = None if self.pull == "always" and not digest and not self.check_mode else before
        preferred = recorded.get(reference)
        if image is None and preferred and self.pull == "missing":
            image = self.engine.image(preferred)
        if image is None and not self.check_mode:
            if self.pull == "never":
                raise ReleaseError(
                    f"compose_release: image {reference} on {self.where}: found it missing on the host, need it here. "
                    "Set compose_stack_pull to missing, or pull it before."
                )
            self.engine.pull(reference, self.where)
            image = self.engine.image(reference)
            if image is not None and (before is None or before["id"] != image["id"]):
                self.pulled.append(reference)
        if image is None:
            return (reference if digest else ""), None
        if digest:
            return reference, image
        # An image that was built here has no digest; its own id is as immutable, and the rule local-image names it.
        return releases.pick_digest(reference, image["digests"], preferred) or image["id"], image


def facts_of(definition: dict[str, Any], images: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the guards of data must know of each service."""
    found = {}
    for name, service in definition["services"].items():
        reference = policy.split_reference(str(service["image"]))
        image = images.get(name) or {}
        found[name] = {
            "image": service["image"],
            "mounts": guards.mounts(service, definition.get("volumes") or {}),
            "database": guards.database(
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


def leak_problems(text: str, values: dict[str, str], where: str) -> list[str]:
    """Return one sentence for each secret whose value stands in the rendered file."""
    escaped = {name: json.dumps(value)[1:-1] for name, value in values.items()}
    return [
        f"compose_release: value of secret {name.partition('/')[2]} on {where}: found it in the definition, "
        "need it in the secret only. Read it from /run/secrets."
        for name in sorted({*releases.leaked(text, values), *releases.leaked(text, escaped)})
    ]


def build(engine: Engine, stack: Stack, params: dict[str, Any], check_mode: bool) -> Build:
    """Check the definition, pin its images and compose the release; every problem at once, nothing is written."""
    where = f"stack {stack.name}"
    key = secrecy.key_of(stack)
    secrets = secrecy.versioned(key, params["secrets"])
    before = stack.record(stack.current())
    normal = engine.normalise(params["definition"], stack)
    services = normal["services"]
    problems = policy.waiver_problems(params["waivers"], services, stack.name)
    problems += releases.secret_problems(secrets, services, stack.name)
    in_environment = {each["service"] for each in secrets if each["as"] == "environment" and not each["reason"]}
    # Without the images the rules still hold; they are checked first, so that nothing is pulled in vain.
    findings = policy.unwaived(policy.lint(services, None, in_environment), params["waivers"])
    early = [finding for finding in findings if finding.rule not in LATE_RULES]
    if problems or early:
        raise ReleaseError(*problems, *(finding.sentence(stack.name) for finding in findings))
    recorded = {
        entry["image"]: before["images"][name]
        for name, entry in (before.get("services") or {}).items()
        if name in (before.get("images") or {})
    }
    search = Pins(engine, params["pull"], check_mode, where)
    wanted = {name: str(service["image"]) for name, service in services.items()}
    pins, images = search.of(wanted, params["images"], recorded)
    secrets = secrecy.versioned(key, owned(params["secrets"], images))
    findings = policy.lint(services, images, in_environment)
    problems += unowned(secrets, images, where)
    problems += [
        finding.sentence(stack.name)
        for finding in policy.unwaived(findings, params["waivers"])
        if finding.service in images or finding not in early
    ]
    after = facts_of(normal, images)
    dangers = guards.dangers(before.get("services") or {}, after, data_on_disk(engine, after))
    problems += [danger.sentence(stack.name) for danger in dangers if danger.token not in params["allow"]]
    text = releases.render(releases.assemble(normal, pins, secrets, images, str(stack.path)))
    if problems and not (check_mode and search.unknown):
        raise ReleaseError(*problems)
    values = stack.secret_values()
    values.update(
        {f"{each['version']}/{each['service']}/{each['name']}": each["value"].rstrip("\n") for each in secrets}
    )
    leaks = leak_problems(text, values, where)
    if leaks:
        raise ReleaseError(*leaks)
    content = releases.digest_of(text)
    folder, exists = releases.folder_for(content, stack.folders())
    record = {
        "schema": 1,
        "stack": stack.name,
        "release": folder,
        "hash": content,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "images": pins,
        "services": after,
        "active": present.active(normal),
        "secret_versions": {each["service"]: each["version"] for each in secrets},
        "waivers": params["waivers"],
        "shared": params.get("shared") or {},
    }
    pulled = [f"pulled {reference}" for reference in search.pulled]
    return Build(folder, exists, text, record, secrets, key, present.waived(findings, params["waivers"]), pulled)


def owned(secrets: list[dict[str, Any]], images: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the secrets, each with a user; where the service names none it is that of its image."""
    found = []
    for secret in secrets:
        account = str((images.get(secret["service"]) or {}).get("user") or "0").partition(":")[0]
        own = secret["uid"] != IMAGE_USER or not account.isdigit()
        found.append(secret if own else {**secret, "uid": int(account)})
    return found


def unowned(secrets: list[dict[str, Any]], images: dict[str, dict[str, Any]], where: str) -> list[str]:
    """Return a sentence for each service whose secrets would belong to a user that only its image knows."""
    return [
        f"compose_release: user on service {name} of {where}: found {images[name]['user']} in its image, need a "
        "number, as the files of its secrets belong to it. Set user."
        for name in sorted({secret["service"] for secret in secrets if secret["uid"] == IMAGE_USER} & set(images))
    ]


def write_files(stack: Stack, files: list[dict[str, str]], check_mode: bool) -> list[str]:
    """Write the files that a release carries along and that are not there yet; return a sentence for each bundle."""
    bundles: dict[str, dict[str, dict[str, str]]] = {}
    for each in files:
        name, _slash, path = each["path"].partition("/")
        bundles.setdefault(name, {})[path] = each
    missing = {name: bundle for name, bundle in bundles.items() if not (stack.files / name).is_dir()}
    for name, bundle in missing.items() if not check_mode else ():
        stack.write_bundle(
            name, {path: (base64.b64decode(one["data"]), int(one["mode"], 8)) for path, one in bundle.items()}
        )
    return [f"wrote {', '.join(sorted(bundle))}" for bundle in missing.values()]


def write(stack: Stack, made: Build, check_mode: bool) -> list[str]:
    """Write the secrets and the release that are not there yet; return a sentence for each."""
    if made.secrets and not check_mode:
        secrecy.store_key(stack, made.key)
    actions = secrecy.write(stack, made.secrets, check_mode)
    if not made.exists:
        actions.append(f"wrote release {made.folder}")
        if not check_mode:
            record = json.dumps(made.record, indent=2, sort_keys=True) + "\n"
            stack.write(made.folder, {"compose.yaml": made.text, "release.json": record})
    return actions
