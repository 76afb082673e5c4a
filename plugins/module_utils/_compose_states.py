# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The states of a stack: for each what has to be done, and the doing. PRIVATE to the collection."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_build as building
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_policy as policy
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_present as present
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_release as releases
from ansible_collections.evenkeel.platform.plugins.module_utils import _compose_secrets as secrecy
from ansible_collections.evenkeel.platform.plugins.module_utils import _registry as registry
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_engine import Engine, Reply
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_release import ReleaseError
from ansible_collections.evenkeel.platform.plugins.module_utils._compose_store import Stack
from ansible_collections.evenkeel.platform.plugins.module_utils._guard import Guard

Result = dict[str, Any]
RESTART_PAUSE = 0.3

EMPTY: Result = {
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
    "reason": "",
    "fault": "",
    "diff": {"before": "", "after": ""},
}


class States:
    """One stack on this host; each state is a method that returns what the module reports of it."""

    def __init__(
        self, engine: Engine, stack: Stack, params: dict[str, Any], check_mode: bool, guard: Guard | None
    ) -> None:
        self.engine = engine
        self.stack = stack
        self.params = params
        self.check_mode = check_mode
        self.guard = guard
        self.where = f"stack {stack.name}"
        self.values = list(stack.secret_values().values())

    def table(self) -> dict[str, Callable[[], Result]]:
        """Return the method of each state."""
        return {
            "present": self.present,
            "staged": self.staged,
            "running": self.running,
            "former": self.former,
            "reduced": self.reduced,
            "restarted": self.restarted,
            "steady": self.steady,
            "stopped": self.stopped,
            "absent": self.absent,
        }

    # -- a release of a definition ------------------------------------------------

    def present(self) -> Result:
        """Write the release, run it, let the pointer name it; on failure go back to the one before."""
        return self._released(start=True)

    def staged(self) -> Result:
        """Write the release and let the pointer name it."""
        return self._released(start=False)

    def _released(self, start: bool) -> Result:
        current = self.stack.current()
        problems = policy.unsupported(self.params["definition"] or {}, self.stack.name)
        problems += secrecy.problems(self.stack.name, self.params["secrets"])
        if problems:
            raise ReleaseError(*problems)
        if self.check_mode and not self.engine.answers():
            actions = ["would write a release, once Docker is there"]
            return {"changed": True, "pending": True, "actions": actions, "previous": current, "current": current}
        self._need_docker()
        self._ask()
        made = building.build(self.engine, self.stack, self.params, self.check_mode)
        self.values += [secret["value"] for secret in made.secrets]
        boot = self.params["boot"] and start
        actions = [*made.actions, *building.write(self.stack, made, self.check_mode)]
        actions += building.write_files(self.stack, self.params.get("files") or [], self.check_mode)
        actions += self._share(self.params.get("shared"))
        drift = self._drift(made.folder, made) if start else {}
        boots = self.stack.boots() if boot else self.stack.may_boot()
        pending = bool(current != made.folder or boots != boot or drift)
        result: Result = {
            "release": made.folder,
            "previous": current,
            "current": current,
            "project_src": str(self.stack.releases / made.folder),
            "written": made.exists or not self.check_mode,
            "pending": pending,
            "images": made.record["images"],
            "waived": made.waived,
            "diff": {
                "before": self.stack.text(current),
                "after": made.text,
                "before_header": f"{self.stack.name} {current or 'no release'}",
                "after_header": f"{self.stack.name} {made.folder}",
            },
        }
        if drift:
            actions += self._start(made.folder, current, result) if not self.check_mode else present.predicted(drift)
        actions += self._point(made.folder, current, boot)
        if start:
            actions += self._drop_order()
        current = current if self.check_mode else made.folder
        return dict(result, changed=bool(actions), actions=actions, current=current)

    def _drift(self, folder: str, made: building.Build | None = None) -> dict[str, str]:
        """Return what sets the containers apart from a release; a release of check mode has no folder to ask."""
        record = made.record if made else self.stack.record(folder)
        hashes = self.engine.hashes(self.stack, folder) if self.stack.file(folder).is_file() else {}
        containers = self.engine.containers(self.stack.name)
        return present.drift(record.get("active") or {}, record.get("services") or {}, hashes, containers)

    def _start(self, folder: str, current: str | None, result: Result) -> list[str]:
        """Start a release and read what runs; go back to the current one where it fails."""
        before = present.snapshot(self.engine.containers(self.stack.name))
        reply = self.engine.up(self.stack, folder, self.params["wait_timeout_seconds"])
        if reply.rc != 0:
            raise self._failed(folder, current, reply, result)
        containers = self.engine.containers(self.stack.name)
        bad = {name: what for name, what in self._unwell(containers).items() if what != "starting"}
        if bad:
            text = ", ".join(f"service {name} {what}" for name, what in bad.items())
            raise self._failed(folder, current, Reply(1, "", text), result)
        return present.done(before, present.snapshot(containers))

    @staticmethod
    def _unwell(containers: list[dict[str, Any]]) -> dict[str, str]:
        found = {present.service_of(each): present.state_of(each) for each in present.standing(containers)}
        return {name: what for name, what in found.items() if what}

    def _failed(self, folder: str, current: str | None, reply: Reply, result: Result) -> ReleaseError:
        """Go back to the release the pointer names; return the failure with what was seen."""
        evidence = self.engine.explain(self.stack.name, self.values)
        # Compose prints its progress to the same stream; the reason comes last.
        cause = releases.mask((reply.stderr.strip().splitlines() or [""])[-1].strip()[-300:], self.values)
        what = f"compose_release: release {folder} on {self.where}: found it not healthy ({cause or 'no reason given'})"
        need = "need every service running and healthy"
        seen = "\n".join(evidence) or "no service was left to ask"
        result = dict(result, evidence=evidence, fault=releases.fault_of(reply.stderr), current=current, changed=True)
        if current == folder:
            reason = f"{what}, {need}. It is the current release, so there is none to go back to; correct it."
            return ReleaseError(f"{reason}\n{seen}", **result, reason=reason, actions=[], rc=reply.rc)
        if current is None:
            back = self.engine.down(self.stack, folder)
            done = "there was no release before, so it was taken down and its volumes kept"
        else:
            back = self.engine.up(self.stack, current, self.params["wait_timeout_seconds"])
            done = f"release {current} runs again"
        if back.rc != 0:
            said = releases.mask(back.stderr.strip()[-300:], self.values)
            done = f"and going back to {current or 'nothing'} failed as well ({said})"
            seen += "\n" + "\n".join(self.engine.explain(self.stack.name, self.values))
        reason = f"{what}, {need}; {done}. Correct it and run again."
        return ReleaseError(f"{reason}\n{seen}", **result, reason=reason, actions=[done], rc=reply.rc)

    def _point(self, folder: str, current: str | None, boot: bool) -> list[str]:
        """Let the pointer name a release, set up the boot, and remove old releases."""
        actions = []
        if current != folder:
            actions.append(f"pointed current at {folder}")
        boots = self.stack.boots() if boot else self.stack.may_boot()
        if boots != boot:
            actions.append("enabled at boot" if boot else "disabled at boot")
        if self.check_mode:
            return actions
        move = self.guard.move if self.guard else None
        record = present.former_after(self.stack.former(), current, folder, move)
        self.stack.set_former(record)
        if current != folder:
            self.stack.point(folder)
        if boots != boot:
            self.stack.set_boot(boot)
        if actions:
            protected = [folder, current, (record or {}).get("release")]
            actions += [f"removed release {gone}" for gone in self.stack.prune(self.params["keep"], protected)]
        return actions

    # -- a release that is there --------------------------------------------------

    def running(self) -> Result:
        """Start what does not run of the current release; never make a container anew."""
        current = self.stack.current()
        result = self._about(current)
        if self.check_mode and not self.engine.answers():
            return result
        if current is None:
            raise ReleaseError(f"compose_release: release on {self.where}: found none, need one. Deploy it.", **result)
        self._need_docker()
        self._ask()
        drift = self._drift(current)
        other = sorted(name for name, what in drift.items() if what in ("changed", "removed"))
        if other:
            raise ReleaseError(
                f"compose_release: service {', '.join(other)} on {self.where}: found containers of another release, "
                f"need those of {current}. Deploy it again.",
                **result,
            )
        if not drift or self.check_mode:
            return dict(result, changed=bool(drift), pending=bool(drift), actions=present.predicted(drift))
        self._share(self.stack.record(current).get("shared"))
        before = present.snapshot(self.engine.containers(self.stack.name))
        reply = self.engine.up(self.stack, current, self.params["wait_timeout_seconds"], recreate=False)
        if reply.rc != 0:
            raise self._failed(current, current, reply, result)
        actions = present.done(before, present.snapshot(self.engine.containers(self.stack.name)))
        return dict(result, changed=bool(actions), actions=actions)

    def former(self) -> Result:
        """Bring back the release that stood before the current one, and let the pointer name it."""
        current, record = self.stack.current(), self.stack.former()
        move = self.guard.move if self.guard else None
        result = self._about(current)
        if record is None and move is None:
            if self.check_mode:
                return result
            raise ReleaseError(
                f"compose_release: former release on {self.where}: found none recorded, need one. "
                "Deploy the release that is wanted.",
                **result,
            )
        target = present.former_of(record, current, move)
        if self.check_mode and not self.engine.answers():
            return dict(result, release=target)
        self._need_docker()
        self._ask()
        if target is None:
            return self._taken_down(current)
        result = {**self._about(target), "previous": current}
        if not self.stack.file(target).is_file():
            raise ReleaseError(
                f"compose_release: release on {self.where}: found no folder {target}, need one of "
                f"{', '.join(self.stack.folders()) or 'none'}. Deploy it again.",
                **result,
            )
        drift = self._drift(target)
        actions = present.predicted(drift) if self.check_mode else []
        if drift and not self.check_mode:
            self._share(self.stack.record(target).get("shared"))
            actions = self._start(target, target, result)
        if current != target:
            actions.append(f"pointed current at {target}")
        if not self.check_mode:
            self.stack.point(target)
        actions += self._drop_order() if actions else []
        return dict(result, changed=bool(actions), actions=actions, current=current if self.check_mode else target)

    def _taken_down(self, current: str | None) -> Result:
        """Remove the containers of a stack that had no release before."""
        containers = self.engine.containers(self.stack.name)
        actions = [f"removed {len(containers)} containers"] if containers else []
        actions += ["pointed current at nothing"] if current else []
        if actions and not self.check_mode:
            if containers:
                self._must(self.engine.down(self.stack), "containers", "it gone")
            self.stack.unpoint()
            self.stack.set_boot(False)
            self._drop_order()
        after = current if self.check_mode else None
        return {"changed": bool(actions), "actions": actions, "previous": current, "current": after}

    def reduced(self) -> Result:
        """Remove the containers of some services, and see that the engine has none of them left."""
        current = self.stack.current()
        result = self._about(current)
        wanted = set(self.params["services"])

        def left() -> list[str]:
            names = {present.service_of(each) for each in self.engine.containers(self.stack.name)}
            return sorted(names & wanted)

        there = self.engine.answers() if self.check_mode else self.engine.commands.available
        found = left() if there else []
        actions = [f"removed service {name}" for name in found]
        if found and not self.check_mode:
            self._ask()
            self._must(self.engine.remove(self.stack, found), "services", "them gone")
            if left():
                raise ReleaseError(
                    f"compose_release: service {', '.join(left())} on {self.where}: found it still there, need it gone "
                    "before it starts elsewhere. Remove it by hand and run this again.",
                    **result,
                )
        return dict(result, changed=bool(actions), actions=actions)

    def restarted(self) -> Result:
        """Restart the containers of some services as they are, and wait until each is healthy."""
        current = self.stack.current()
        result = self._about(current)
        wanted = self.params["services"]
        if self.check_mode and not self.engine.answers():
            return result
        self._need_docker()
        found = {
            present.service_of(each): str(each["Id"])
            for each in present.standing(self.engine.containers(self.stack.name))
            if present.service_of(each) in wanted
        }
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise ReleaseError(
                f"compose_release: service {', '.join(missing)} on {self.where}: found no container, need one to "
                "restart. Deploy the live release again, which starts what is missing.",
                **result,
            )
        actions = [f"restarted service {name}" for name in sorted(found)]
        if self.check_mode:
            return dict(result, changed=True, actions=actions)
        self._ask()
        self._must(self.engine.act("restart", *found.values()), "restart", "the container running again")
        deadline = time.monotonic() + self.params["wait_timeout_seconds"]
        while bad := {name: what for name, what in self._unwell_of(wanted).items() if what}:
            if any(what not in ("starting", "unhealthy") for what in bad.values()) or time.monotonic() > deadline:
                text = ", ".join(f"{name} {what}" for name, what in sorted(bad.items()))
                reason = (
                    f"compose_release: service on {self.where}: found {text} after its restart, need it running and "
                    "healthy. Read its last log lines, or go back with "
                    "'ansible-playbook evenkeel.platform.rollback'."
                )
                evidence = self.engine.explain(self.stack.name, self.values)
                raise ReleaseError(reason, **dict(result, evidence=evidence, reason=reason, changed=True))
            time.sleep(RESTART_PAUSE)
        return dict(result, changed=True, actions=actions)

    def _unwell_of(self, services: list[str]) -> dict[str, str]:
        """Return what is wrong with the containers of some services; one that is gone has stopped."""
        found = self._unwell(self.engine.containers(self.stack.name))
        return {name: what for name, what in found.items() if name in services}

    def steady(self) -> Result:
        """Fail where the engine knows better than the last answers of the program."""
        result = self._about(self.stack.current())
        # A dry run started nothing that could be asked.
        services = [] if self.check_mode else self.engine.unsteady(self.stack.name, self.params["within_seconds"])
        if not services:
            beside = self.params["beside"]
            return dict(result, beside=self.engine.services(beside) if beside and not self.check_mode else [])
        evidence = self.engine.explain(self.stack.name, self.values)
        reason = (
            f"compose_release: service {', '.join(services)} on {self.where}: found it ended, unhealthy or started "
            "again, need every container running since its start. Read its last log lines."
        )
        raise ReleaseError(reason, **dict(result, evidence=evidence, reason=reason, fault="release"))

    def stopped(self) -> Result:
        """Stop what runs and keep it from starting at boot."""
        current = self.stack.current()
        actions = ["disabled at boot"] if self.stack.may_boot() else []
        there = self.engine.answers() if self.check_mode else self.engine.commands.available
        containers = self.engine.containers(self.stack.name) if there else []
        running = [each for each in containers if (each.get("State") or {}).get("Running")]
        if running:
            actions.append(f"stopped {len(running)} containers")
        if actions and not self.check_mode:
            self._ask()
            self.stack.set_boot(False)
            if running:
                self._must(self.engine.stop(self.stack, current), "containers", "them stopped")
        return dict(self._about(current), changed=bool(actions), actions=actions)

    def absent(self) -> Result:
        """Remove everything but the volumes that nobody typed."""
        current = self.stack.current()
        there = self.engine.commands.available and (not self.check_mode or self.engine.answers())
        containers = self.engine.containers(self.stack.name) if there else []
        has = self.engine.volumes(self.stack.name) if there else []
        evidence = self.engine.explain(self.stack.name, self.values) if containers else []
        typed = {f"{self.stack.name}_{name}" for name in self.params["volumes"]} | set(self.params["volumes"])
        doomed = [name for name in has if name in typed]
        shared = self.stack.record(current).get("shared") or {}
        actions = [f"removed {len(containers)} containers"] if containers else []
        actions += [f"removed volume {name}" for name in doomed]
        actions += ["disabled at boot"] if self.stack.may_boot() else []
        actions += [f"removed {self.stack.path}"] if self.stack.path.is_dir() else []
        if actions and not self.check_mode:
            self._ask()
            self.stack.set_boot(False)
            if there:
                self._must(self.engine.down(self.stack), "removal", "it gone")
            for name in doomed:
                self._must(self.engine.act("volume", "rm", name), "removal", "it gone")
            actions += self._unshare(shared, typed) if there else []
            if self.stack.path.is_dir():
                shutil.rmtree(self.stack.path)
        actions += self._drop_order()
        changed = bool(actions)
        actions += [f"kept volume {name}" for name in has if name not in typed] if actions else []
        result = {"changed": changed, "actions": actions, "previous": current, "release": current}
        return dict(result, current=current if self.check_mode else None, evidence=evidence)

    # -- what they share ----------------------------------------------------------

    def _about(self, folder: str | None) -> Result:
        return {
            "previous": folder,
            "current": folder,
            "release": folder,
            "project_src": str(self.stack.releases / folder) if folder else None,
            "written": folder is not None,
            "images": self.stack.record(folder).get("images") or {},
        }

    def _share(self, shared: dict[str, Any] | None) -> list[str]:
        """Make the networks and volumes that outlive the stack, where they are missing."""
        missing = self.engine.unshared(shared or {})
        for kind, options in missing if not self.check_mode else ():
            self._must(self.engine.make(kind, options), f"{kind} {options['name']}", "it made")
        return [f"made {kind} {options['name']}" for kind, options in missing]

    def _unshare(self, shared: dict[str, Any], typed: set[str]) -> list[str]:
        """Remove the networks of a stack, and its volumes that were typed, as soon as no other stack uses them."""
        wanted = [("network", each["name"]) for each in shared.get("networks") or []]
        wanted += [("volume", each["name"]) for each in shared.get("volumes") or [] if each["name"] in typed]
        return [f"removed {kind} {name}" for kind, name in wanted if self.engine.unmake(kind, name)]

    def _need_docker(self) -> None:
        if not self.engine.commands.available:
            raise ReleaseError(
                f"compose_release: docker on {self.where}: found no command of that name on the host, "
                "need the engine with compose v2. Run the docker_host role.",
                fault="means",
            )

    def _ask(self) -> None:
        if self.guard:
            self.guard.ask()

    def _drop_order(self) -> list[str]:
        colour = present.colour_of(self.stack.name, self.guard.records.app) if self.guard else ""
        if self.guard and colour and self.guard.drop_order(colour):
            return [f"removed the order to retire {colour}"]
        return []

    def _must(self, reply: Reply, what: str, need: str) -> None:
        if reply.rc != 0:
            said = releases.mask(reply.stderr.strip()[-300:], self.values)
            raise ReleaseError(
                f"compose_release: {what} on {self.where}: found {said or 'an error'}, need {need}. "
                "Look at the engine.",
                rc=reply.rc,
                fault=releases.fault_of(reply.stderr),
            )


def pulled(engine: Engine, params: dict[str, Any], check_mode: bool) -> Result:
    """Bring images here; registries are only asked for what is not here."""
    images: dict[str, str] = params["images"]
    if check_mode and not engine.answers():
        return {
            "changed": bool(images),
            "actions": ["would pull, once Docker is there"] if images else [],
            "images": images,
        }
    if not engine.commands.available:
        raise ReleaseError(
            "compose_release: docker on this host: found no command of that name, need the engine. "
            "Run the docker_host role.",
            fault="means",
        )
    needed = [
        reference
        for reference in dict.fromkeys(images.values())
        if (params["pull"] == "always" and not policy.split_reference(reference)["digest"])
        or engine.image(reference) is None
    ]
    folder = Path(params["config_dir"]).expanduser()
    if check_mode:
        return _would_pull(engine, images, needed, folder, params["registries"])
    problems: list[str] = []
    actions = []
    for host in params["registries"]:
        if host["host"] in {registry.registry_of(reference) for reference in needed}:
            if host["ca"]:
                actions += registry.trust(host["host"], host["ca"], check_mode, params["certificates_dir"])
            if host["user"]:
                refusal = registry.login(engine.commands, host["host"], host["user"], host["password"] or "", folder)
                problems += [refusal] if refusal else []
    if problems:
        raise ReleaseError(*problems, fault="means")
    search = building.Pins(engine, params["pull"], check_mode, "this host")
    pins, _known = search.of(images, {}, {})
    actions += [f"pulled {reference}" for reference in search.pulled]
    return {"changed": bool(actions), "actions": actions, "images": pins}


def _would_pull(
    engine: Engine, images: dict[str, str], needed: list[str], folder: Path, registries: list[dict[str, Any]]
) -> Result:
    """Look images up in their registries, so that a dry run fails where the run would."""
    logins = {
        each["host"]: registry.encoded(each["user"], each["password"] or "") for each in registries if each["user"]
    }
    pins: dict[str, str] = {}
    actions, problems, faults = [], [], set()
    for key, reference in sorted(images.items()):
        image = engine.image(reference)
        digest = policy.split_reference(reference)["digest"]
        here = releases.pick_digest(reference, image["digests"], None) if image else None
        pins[key] = reference if digest else here or (image or {}).get("id") or reference
        if reference not in needed:
            continue
        host = registry.registry_of(reference)
        try:
            found = engine.lookup(reference, logins.get(host) or registry.stored(folder, host), "this host")
        except ReleaseError as exc:
            problems += exc.problems
            faults.add(exc.result.get("fault"))
            continue
        repository = policy.split_reference(reference)["repository"]
        pins[key] = reference if digest else f"{repository}@{found}"
        if here != pins[key]:
            actions.append(f"pulled {reference}")
    if problems:
        raise ReleaseError(*dict.fromkeys(problems), fault="means" if faults == {"means"} else "release")
    return {"changed": bool(actions), "actions": list(dict.fromkeys(actions)), "images": pins}
