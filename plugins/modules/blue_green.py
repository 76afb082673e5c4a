#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: blue_green
short_description: Make one colour of an app live, at one atomic point
version_added: 0.1.0
description:
  - Moves all new requests of an app to a colour, or a percentage of them to the other one, by one
    map entry that the proxy reads once for each request.
  - Refuses a token that a newer run has overtaken, and a colour with too few servers that passed a
    layer-7 check since the last reload of the proxy.
  - Moves in every worker, old ones included, reads back from each, makes the file that a restart
    loads equal, and probes through the public listener. When any of this fails the entry goes back.
  - Holds the edge-wide lock and the lock of the app from reading the entry until it is on the disk.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.haproxy
options:
  state:
    description:
      - V(moved) moves the entry.
      - V(prepared) moves nothing. It takes O(exclude_servers) of an idle O(colour) out of service
        and puts its other servers back into it, so that their checks run before the gate.
    type: str
    choices: [moved, prepared]
    default: moved
  colour:
    description:
      - The colour to be live.
      - V(previous) is the colour that was live before the last move, as long as it is warm. It is warm no longer
        30 seconds before its containers may be stopped, once it was gone back to, and once they are made anew.
    type: str
    choices: [blue, green, previous]
    required: true
  weight:
    description:
      - The percentage of requests that the other colour gets while O(colour) stays live.
      - V(0) gives O(colour) all of them.
    type: int
    default: 0
  release:
    description:
      - Identity of the release on O(colour), as it will stand in the entry.
      - When it is left out, the one that the present entry names for that colour.
    type: str
    default: ""
  other_release:
    description: Identity of the release on the other colour; when it is left out, the one the present entry names.
    type: str
    default: ""
  token:
    description:
      - The token of the run. Required unless O(preempt) is set.
    type: int
  preempt:
    description:
      - Move without waiting for a run that is under way. The token becomes the higher one of O(token)
        and the highest this edge has met plus one, so that the other run is refused from now on.
    type: bool
    default: false
  min_servers:
    description:
      - How many servers of each service of the colour that gains traffic must have passed a check, as
        one number or as a dict of service and number. Services the dict does not name need one.
    type: raw
    default: 1
  warm_seconds:
    description: How long the colour that is left stays ready for O(colour=previous).
    type: int
    default: 0
  cold_ok:
    description: With O(colour=previous) and nothing warm and well, return RV(cold=true) instead of failing.
    type: bool
    default: false
  check_wait_seconds:
    description: How long to wait for that many servers; after a reload the first checks take a moment.
    type: float
    default: 5.0
  exclude_servers:
    description:
      - Servers of the colour that gains traffic to take out of service before the move, as
        C(<server>) for every service or C(<service>/<server>).
    type: list
    elements: str
    default: []
  probe:
    description: What to ask through the public listener after the move; without it nothing is asked.
    type: dict
    suboptions:
      url:
        description: The address as a user types it.
        type: str
        required: true
      host:
        description: Host header and SNI; the host of O(probe.url) when left out.
        type: str
        default: ""
      connect_to:
        description: Address of this edge, with or without a port, to connect to instead of O(probe.url)'s.
        type: str
        default: ""
      ca_file:
        description: File of the CA certificates to trust on this host.
        type: path
        default: ""
      verify:
        description: Whether to check the certificate.
        type: bool
        default: true
      status:
        description: The status to expect.
        type: int
        default: 200
      release:
        description:
          - The release that the app must tell of itself. Left out, the O(release) without its C(+<n>).
          - Not compared while O(weight) is not 0, as both sides answer then.
        type: str
        default: ""
      release_key:
        description: Key of the JSON answer that holds the release; empty compares none.
        type: str
        default: release
      within_seconds:
        description: How long to try.
        type: float
        default: 2.0
  allow_down:
    description:
      - When HAProxy does not run, write the file and the state only; it loads them when it starts.
      - For an edge that was declared out.
    type: bool
    default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.blue_green_info
  - module: evenkeel.platform.connection_drain
"""

EXAMPLES = r"""
- name: Give green all requests
  evenkeel.platform.blue_green:
    app: shop
    colour: green
    release: "1.1"
    token: "{{ lease.token }}"
    min_servers: {api: 2, web: 1}
    probe:
      url: https://shop.example.com/readyz
      connect_to: 192.0.2.10

- name: Give green 10 percent of them
  evenkeel.platform.blue_green:
    app: shop
    colour: blue
    weight: 10
    other_release: "1.1"
    token: "{{ lease.token }}"

- name: Go back at once, whoever is deploying
  evenkeel.platform.blue_green:
    app: shop
    colour: blue
    preempt: true
"""

RETURN = r"""
before:
  description: The entry that was served.
  returned: always
  type: str
  sample: "blue:0:1.0:"
after:
  description: The entry that is served now, or would be in check mode.
  returned: always
  type: str
  sample: "green:0:1.1:1.0"
moved_at:
  description: When the entry was moved last.
  returned: always
  type: str
  sample: "2026-11-21T10:00:00.000Z"
workers:
  description: What each worker of the proxy held before; the current one comes first.
  returned: always
  type: list
  elements: dict
  sample: [{"pid": 4711, "old": false, "value": "blue:0:1.0:"}]
probe:
  description: C(ok), the number of C(tries), the C(seconds) they took, and the last C(answer).
  returned: always
  type: dict
  sample: {"ok": true, "tries": 1, "seconds": 0.004, "answer": "200"}
token:
  description: The highest token this edge has met.
  returned: always
  type: int
  sample: 42
moved_back:
  description: Whether the entry was moved and then put back because something failed.
  returned: always
  type: bool
  sample: false
repaired:
  description: Whether only a record was made equal to what is served already.
  returned: always
  type: bool
  sample: false
running:
  description: Whether HAProxy answered.
  returned: always
  type: bool
  sample: true
cold:
  description: Whether V(previous) was asked for and no side is warm; nothing was moved then.
  returned: always
  type: bool
  sample: false
actions:
  description: What was done, or would be in check mode, in sentences.
  returned: always
  type: list
  elements: str
  sample: ["Moved shop from blue:0:1.0: to green:0:1.1:1.0."]
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _adapter, _clock, _entry, _http, _switch
from ansible_collections.evenkeel.platform.plugins.module_utils._entry import Entry
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence
from ansible_collections.evenkeel.platform.plugins.module_utils._haproxy import Unreachable
from ansible_collections.evenkeel.platform.plugins.module_utils._state import RELEASE, STATE_ARGUMENTS, Records, fence

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **_adapter.ADAPTER_ARGUMENTS,
    "state": {"type": "str", "choices": ["moved", "prepared"], "default": "moved"},
    "colour": {"type": "str", "choices": ["blue", "green", "previous"], "required": True},
    "weight": {"type": "int", "default": 0},
    "release": {"type": "str", "default": ""},
    "other_release": {"type": "str", "default": ""},
    "token": {"type": "int", "no_log": False},
    "preempt": {"type": "bool", "default": False},
    "min_servers": {"type": "raw", "default": 1},
    "warm_seconds": {"type": "int", "default": 0},
    "cold_ok": {"type": "bool", "default": False},
    "check_wait_seconds": {"type": "float", "default": 5.0},
    "exclude_servers": {"type": "list", "elements": "str", "default": []},
    "probe": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "connect_to": {"type": "str", "default": ""},
            "ca_file": {"type": "path", "default": ""},
            "verify": {"type": "bool", "default": True},
            "status": {"type": "int", "default": 200},
            "release": {"type": "str", "default": ""},
            "release_key": {"type": "str", "default": "release", "no_log": False},
            "within_seconds": {"type": "float", "default": 2.0},
        },
    },
    "allow_down": {"type": "bool", "default": False},
}
MODULE = "blue_green"
WARM_MARGIN_SECONDS = 30


class TooFewServers(Failure):
    """The colour has not enough servers that passed a check, yet."""


class Move:
    """One call: what was read, what is to be, and what was done."""

    def __init__(self, module: AnsibleModule, records: Records) -> None:
        self.params = module.params
        self.records = records
        self.check_mode = module.check_mode
        self.adapter = _adapter.of(module, MODULE, records.folder)
        self.result: dict[str, t.Any] = empty()
        for option in ("release", "other_release"):
            value = self.params[option]
            if value and not RELEASE.match(value):
                raise Failure(
                    sentence(
                        MODULE,
                        "the release is not usable",
                        records.app,
                        repr(value),
                        "letters, digits and . _ + -, at most 128",
                        f"Set {option}",
                    )
                )

    def settle_previous(self) -> bool:
        """Put the warm side's colour and release in place of V(previous); False when nothing is warm."""
        self.warm = (self.records.read("state.json", read_only=True) or {}).get("warm") or {}
        if self.params["colour"] != "previous":
            self.warm = {}
            return True
        if self.warm and time.time() < self.warm["until"] - WARM_MARGIN_SECONDS:
            self.params.update(colour=self.warm["colour"], release=self.warm["release"])
            return True
        if not self.params["cold_ok"]:
            raise Failure(
                sentence(
                    MODULE,
                    "nothing is warm",
                    self.records.app,
                    "no side to go back to at once",
                    "the release before to be running still",
                    "Run playbooks/rollback.yml, which starts it again",
                )
            )
        self.find_cold()
        return False

    def find_cold(self) -> None:
        """Tell that nothing can be gone back to at once, and leave the entry as it is."""
        _workers, served = self.read()
        entry = str(_entry.parse(served, MODULE, self.records.app))
        self.result.update(cold=True, before=entry, after=entry)

    def refuse_changed_warmth(self, state: dict[str, t.Any]) -> None:
        """A run that came between the first look and the lock may be making the warm side anew."""
        if self.warm and state.get("warm") != self.warm:
            raise Failure(
                sentence(
                    MODULE,
                    "the warm side was taken",
                    self.records.app,
                    "another run at work on it",
                    "it to be left alone",
                    "Run playbooks/status.yml, then try again",
                )
            )

    def act(self, text: str) -> None:
        self.result["actions"].append(text)

    def read(self) -> tuple[list[dict[str, t.Any]], str | None]:
        """Return what each worker holds and what counts as served; nothing runs: the file's word."""
        try:
            workers = self.adapter.read()
        except Unreachable:
            if not self.params["allow_down"] and not self.check_mode:
                raise
            self.result["running"] = False
            if not self.params["allow_down"]:
                self.records.warnings.append(
                    f"{MODULE}: HAProxy does not run on this host, so the check is made on the file alone."
                )
            return [], self.adapter.read_saved()
        return workers, workers[0]["value"]

    def token(self, highest: int) -> int:
        given = self.params["token"]
        if self.params["preempt"]:
            return max(given or 0, highest + 1)
        if given is None:
            raise Failure(
                sentence(
                    MODULE,
                    "no token is given",
                    self.records.app,
                    "none",
                    "the token of the lease",
                    "Set token, or preempt to overtake the run that is under way",
                )
            )
        return fence(MODULE, self.records.app, given, highest)

    def target(self, before: Entry) -> Entry:
        params = self.params
        return _switch.target(
            before, self.records.app, params["colour"], params["weight"], params["release"], params["other_release"]
        )

    def lacking(self, before: Entry, after: Entry) -> list[str]:
        colour = _switch.gaining(before, after)
        if not colour or not self.result["running"]:
            return []
        need = _switch.minimum(self.params["min_servers"], self.records.app)
        healthy = self.adapter.healthy(colour)
        return _switch.too_few(self.records.app, colour, healthy, need, self.params["exclude_servers"])

    def run(self) -> None:
        if self.params["state"] == "prepared":
            if self.params["colour"] == "previous":
                raise Failure(
                    sentence(
                        MODULE,
                        "a warm colour is not prepared",
                        self.records.app,
                        "previous",
                        "blue or green",
                        "Set colour",
                    )
                )
            with self.records.locked(edge=True):
                self.prepare()
            return
        if not self.settle_previous():
            return
        deadline = time.monotonic() + self.params["check_wait_seconds"]
        while True:
            try:
                with self.records.locked(edge=True):
                    raw = self.move()
                break
            except TooFewServers as exc:
                if self.warm and self.params["cold_ok"]:
                    # It was left running, but it died or is ill: to go back there, it must be started again.
                    self.records.warnings.append(str(exc))
                    self.find_cold()
                    return
                if self.check_mode or time.monotonic() >= deadline:
                    raise
            time.sleep(0.1)  # no lock is held while the checks go on
        self.confirm(raw)

    def prepare(self) -> None:
        workers, served = self.read()
        state = self.records.read("state.json") or {}
        highest = int(state.get("token", 0))
        before = _entry.parse(served, MODULE, self.records.app)
        colour = self.params["colour"]
        self.result.update(
            before=str(before),
            after=str(before),
            workers=workers,
            token=self.token(highest),
            moved_at=state.get("moved_at") or "",
        )
        if before.serves and (before.colour == colour or before.weight):
            raise Failure(
                sentence(
                    MODULE,
                    "a colour that serves is not prepared",
                    f"{colour} of {self.records.app}",
                    f"the entry {before}",
                    "an idle colour",
                    "Move to the other colour first",
                )
            )
        if not self.result["running"]:
            return
        known, out = self.adapter.wanted(colour, self.params["exclude_servers"])
        had = set(self.adapter.excluded(colour))
        changes = [f"{name} {'maint' if name in out else 'ready'}" for name in known if (name in out) != (name in had)]
        if changes and not self.check_mode:
            _changed, problems = self.adapter.exclude(colour, out, ready=True)
            if problems:
                raise Failure(
                    sentence(
                        MODULE,
                        "the servers were not prepared",
                        f"{colour} of {self.records.app}",
                        "; ".join(problems),
                        "each server as asked",
                        "See 'systemctl status haproxy'",
                    )
                )
        self.result["changed"] = bool(changes)
        for change in changes:
            self.act(f"Set {change} on {colour} of {self.records.app}.")
        self.raise_token(state)

    def raise_token(self, state: dict[str, t.Any]) -> None:
        if int(state.get("token", 0)) != self.result["token"]:
            self.records.write(dict(state, app=self.records.app, token=self.result["token"]), "state.json")

    def move(self) -> str | None:
        """Decide and move under the locks; return the raw value that was served before."""
        records, app = self.records, self.records.app
        state = records.read("state.json") or {}
        self.refuse_changed_warmth(state)
        self.warm_before = state.get("warm") or {}
        token = self.token(int(state.get("token", 0)))
        workers, served = self.read()
        before = _entry.parse(served, MODULE, app)
        after = self.target(before)
        value = str(after)
        self.result.update(
            before=str(before), after=value, workers=workers, token=token, moved_at=state.get("moved_at") or ""
        )
        lacking = self.lacking(before, after)
        if lacking:
            raise TooFewServers(" ".join(lacking), **{**self.result, "after": str(before)})
        moving = any(worker["value"] != value for worker in workers) or (not workers and served != value)
        saving = self.adapter.read_saved() != value
        told = self.adapter.stamped().partition(":")[2] == (state.get("moved_at") or "")
        recording = state.get("entry") != value or not told
        self.result["changed"] = moving or saving or recording
        self.result["repaired"] = self.result["changed"] and served == value
        self.moved = served != value
        if moving:
            self.act(f"Moved {app} from {before} to {after}.")
        elif saving or recording:
            self.act(f"Made the records of {app} equal to {after}, which is served already.")
        if self.check_mode:
            return served
        # The token comes first: a run that was overtaken stays so though we should die right here.
        self.raise_token(state)
        gaining = _switch.gaining(before, after)
        if gaining and self.params["exclude_servers"] and self.result["running"]:
            changed, problems = self.adapter.exclude(gaining, self.params["exclude_servers"], ready=False)
            for change in changed:
                self.act(f"Set {change} on {gaining} of {app}.")
            if problems:
                raise Failure(
                    sentence(
                        MODULE,
                        "servers were not taken out of service",
                        f"{gaining} of {app}",
                        "; ".join(problems),
                        "each excluded server in maint",
                        "See 'systemctl status haproxy'",
                    ),
                    **{**self.result, "after": str(before), "changed": bool(changed)},
                )
        problems = []
        try:
            problems = self.write(value, moving)
            if not problems:
                if saving:
                    self.adapter.save(value)
                if moving or recording:
                    self.record(value, str(before), token)
        except (Failure, OSError) as exc:
            problems.append(str(exc))
        if problems:
            self.back(served, "the move was not read back", problems)
        return served

    def write(self, value: str, moving: bool) -> list[str]:
        """Move and read back; a worker that came in between read the old file, so it is told once more."""
        if not self.result["running"]:
            return []
        problems = (self.adapter.move(value) if moving else []) + self.adapter.verify(value)
        if problems:
            problems = self.adapter.move(value) + self.adapter.verify(value)
        return problems

    def record(self, value: str, previous: str, token: int) -> None:
        state = self.records.read("state.json") or {}
        moved_at = _clock.iso(time.time())
        if self.moved or not state.get("moved_at"):
            state.update(moved_at=moved_at, previous=previous)
            state["warm"] = self.left_warm(_entry.parse(previous, MODULE, self.records.app))
        state.update(app=self.records.app, entry=value, token=token)
        self.records.write(state, "state.json")
        self.adapter.stamp(f"{token}:{state['moved_at']}")
        self.result["moved_at"] = state["moved_at"]

    def left_warm(self, left: Entry) -> dict[str, t.Any]:
        """What a later call with V(previous) goes back to; nothing once this call itself went back."""
        if not left.serves or self.warm or not self.params["warm_seconds"] or left.colour == self.params["colour"]:
            return {}
        return {"colour": left.colour, "release": left.release, "until": int(time.time()) + self.params["warm_seconds"]}

    def back(self, raw: str | None, what: str, problems: list[str]) -> t.NoReturn:
        """Put the entry back that was served before, and fail with what was seen."""
        unsaved = ""
        try:
            left = self.adapter.move(raw) + self.adapter.verify(raw)
        except Failure as failure:
            left = [failure.sentence]
        if not left:
            try:
                self.adapter.save(raw)
                state = self.records.read("state.json") or {}
                state.update(
                    app=self.records.app,
                    entry=raw or "",
                    moved_at=_clock.iso(time.time()),
                    previous=self.result["after"],
                    warm=self.warm_before,
                )
                self.records.write(state, "state.json")
                self.adapter.stamp(f"{state.get('token', 0)}:{state['moved_at']}")
            except (Failure, OSError) as exc:
                unsaved = f", but not its records ({exc}); run blue_green again once that is mended"
        if left:
            done = f"Moving back failed too ({'; '.join(left)}); run blue_green_info and move by hand"
        else:
            done = (
                f"The entry was moved back to {raw or 'nothing'}{unsaved or ', see the probe and the log of the app'}"
            )
        served = self.result["after"] if left else self.result["before"]
        raise Failure(
            sentence(MODULE, what, self.records.app, "; ".join(problems), f"the entry {self.result['after']}", done),
            **{**self.result, "after": served, "moved_back": not left, "changed": bool(left)},
        )

    def confirm(self, raw: str | None) -> None:
        """Ask through the public listener with no lock held; move back when the answer is wrong."""
        probe = self.params["probe"]
        if not probe or self.check_mode or not self.result["running"]:
            return
        self.result["probe"], why = ask(probe, self.params["weight"], self.result["after"])
        if not why:
            return
        what = "the probe through the public listener failed"
        problems = [f"{why} after {self.result['probe']['tries']} tries"]
        if not self.moved:
            raise Failure(
                sentence(
                    MODULE,
                    what,
                    self.records.app,
                    problems[0],
                    f"the entry {self.result['after']} to answer",
                    "Nothing was moved by this call, so nothing was moved back; decide which colour is to serve",
                ),
                **self.result,
            )
        with self.records.locked(edge=True):
            state = self.records.read("state.json") or {}
            overtaken = int(state.get("token", 0)) != self.result["token"] or state.get("entry") != self.result["after"]
            if overtaken:
                raise Failure(
                    sentence(
                        MODULE,
                        what,
                        self.records.app,
                        problems[0],
                        f"the entry {self.result['after']} to answer",
                        "A newer run has moved the entry since, so this run changes nothing more",
                    ),
                    **self.result,
                )
            self.back(raw, what, problems)


def ask(probe: dict[str, t.Any], weight: int, entry: str) -> tuple[dict[str, t.Any], str]:
    """Return what the public listener answered, and why that is wrong or an empty string."""
    release = probe["release"] or _switch.told(_entry.parse(entry, MODULE, "probe").release)
    started = time.monotonic()
    tries, why = 0, ""
    answer = _http.Answer(0, "", "not asked")
    while True:
        left = probe["within_seconds"] - (time.monotonic() - started)
        if tries and left <= 0:
            break
        tries += 1
        answer = _http.get(
            probe["url"],
            host=probe["host"],
            connect_to=probe["connect_to"],
            ca_file=probe["ca_file"],
            verify=probe["verify"],
            timeout=max(0.2, left),
        )
        why = _http.problem(
            answer,
            status=probe["status"],
            release="" if weight or not probe["release_key"] else release,
            release_key=probe["release_key"],
        )
        if not why:
            break
        time.sleep(0.05)
    seen = {"ok": not why, "tries": tries, "seconds": round(time.monotonic() - started, 4), "answer": answer.brief()}
    return seen, why


def empty() -> dict[str, t.Any]:
    return {
        "changed": False,
        "before": "",
        "after": "",
        "moved_at": "",
        "workers": [],
        "probe": {"ok": None, "tries": 0, "seconds": 0.0, "answer": ""},
        "token": 0,
        "moved_back": False,
        "cold": False,
        "repaired": False,
        "running": True,
        "actions": [],
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    result = empty()
    warnings: list[str] = []
    try:
        records = Records.of(module, MODULE)
        warnings = records.warnings
        move = Move(module, records)
        result = move.result
        move.run()
    except Failure as failure:
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{**result, "changed": False, **failure.result})
    for text in warnings:
        module.warn(text)
    module.exit_json(diff={"before": result["before"] + "\n", "after": result["after"] + "\n"}, **result)


if __name__ == "__main__":
    main()
