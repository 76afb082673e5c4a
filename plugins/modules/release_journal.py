#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_journal
short_description: Record the runs of an app in its journal and ledger
version_added: 0.1.0
description:
  - Keeps C(journal.jsonl), C(ledger.jsonl) and C(releases/) of an app on the record host.
  - The identity of a release is its name for the first content under that name, and
    C(<release>+<n>) for every further content.
  - When a run is opened, it returns whether there is anything to do and, if an earlier run of the same content was
    interrupted, after which boundary to resume and why. What the edges serve decides.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.lease
options:
  state:
    description:
      - V(planned) returns what V(opened) would, takes no lease and writes nothing.
      - V(opened) takes the lease, stores the rendered release, closes an unfinished run of another release as
        abandoned and records the boundary C(leased). If there is nothing to do, it frees the lease again.
      - V(appended) records O(boundary), and O(homes) if given, and renews the lease.
      - V(sealed) closes the run with a row in the ledger and removes old releases.
      - V(rebuilt) writes the records of a lost record host from O(releases) of the other hosts and O(live). Records
        that exist are not changed.
    type: str
    choices: [planned, opened, appended, sealed, rebuilt]
    required: true
  token:
    description:
      - The token of the run. A lower one than that of the lease is refused.
      - Required with O(state=appended) and O(state=sealed). V(opened) and V(rebuilt) return one.
    type: int
  run:
    description: Identifies the run. Required with O(state=opened) and O(state=rebuilt).
    type: str
  owner:
    description: Who runs it. Required with O(state=opened) and O(state=rebuilt).
    type: str
  reason:
    description: Why this is done, for the ledger.
    type: str
    default: ""
  kind:
    description:
      - What is done. V(rollback) holds the release it replaces; V(contract) is the contract
        migration of the live release.
      - With O(state=opened) and V(rollback), a release older than a contract migration is refused
        unless O(retry) names it.
    type: str
    choices: [deploy, rollback, contract]
    default: deploy
  content:
    description:
      - The whole rendered release. C(release) is its name, C(migration) its migrations.
      - It must not contain the value of a secret.
      - Required with O(state=planned) and O(state=opened).
    type: dict
  secrets:
    description:
      - Secret values by name. Only a hash of each, keyed by C(hash.key) of the record host, becomes part of the
        content, so that a changed secret is a new release.
      - With O(kind=rollback) they are only compared with those of the stored O(content).
    type: dict
    default: {}
  live:
    description: The entry that the edges serve, C(text) of RV(evenkeel.platform.blue_green_info#module:entry).
    type: str
    default: ""
  boundary:
    description:
      - The boundaries that were reached, in their order. Required with O(state=appended).
      - With O(state=sealed) they are recorded first.
    type: list
    elements: str
    choices: [leased, recorded, fetched, migrating, migrated, started, gated, intended, moved, confirmed,
              handed_over, drained, warm, sealed]
  lease_seconds:
    description:
      - How long the lease of the run lasts from now on. Before a stage that may take longer, it is set longer.
    type: int
    default: 60
  migrating:
    description:
      - With O(state=opened), whether the run begins with migrations. The boundary C(migrating) is noted with the
        opening, unless this very release was migrated already.
    type: bool
    default: false
  by_hand:
    description: With O(state=opened), whether the release was named on the command line.
    type: bool
    default: false
  inventory_release:
    description: With O(state=opened), the release that the inventory names.
    type: str
    default: ""
  releases:
    description: With O(state=rebuilt), the releases stored on other hosts, with C(identity), C(hash) and C(content).
    type: list
    elements: dict
    default: []
  free_lease:
    description: With O(state=sealed), also free the lease of the run.
    type: bool
    default: false
  detail:
    description:
      - Data stored with the boundary.
      - For C(warm) C(until), the time until which the old side is warm, in ISO 8601.
    type: dict
    default: {}
  restart:
    description: With O(state=appended), the boundary may be an earlier one than the last.
    type: bool
    default: false
  result:
    description:
      - How the run ended. Required with O(state=sealed).
      - V(refused) and V(rolled_back) hold the release, V(live) of a rollback the one that it replaced. V(failed) does
        not, since a host, a registry or a disk failed and not the release.
    type: str
    choices: [live, refused, failed, rolled_back, abandoned]
  evidence:
    description: What proves the result. It is stored in the ledger and must not contain secrets.
    type: dict
    default: {}
  keep:
    description:
      - How many releases to keep. The live one, the one before, a warm one and held ones are never removed.
    type: int
    default: 5
  retry:
    description:
      - Name or identity of a release to deploy although it is held or its migration ended in an unknown state.
      - A run that goes on where another one broke off needs it only for the migration.
    type: str
    default: ""
  homes:
    description:
      - The host of each singleton by its name. With V(planned) and V(opened) it is compared with the recorded one, and
        a singleton that would leave a host outside O(hosts) is refused.
      - With V(appended), V(sealed) and V(rebuilt) it is recorded.
    type: dict
    default: {}
  hosts:
    description: The hosts of this run, on which it is verified that a singleton that leaves them has stopped.
    type: list
    elements: str
    default: []
  singleton_moved:
    description: A singleton and its recorded host, as C(bot@app1), typed by a person who has stopped it there.
    type: str
    default: ""
  held_ok:
    description: Return RV(held=true) for a held release instead of failing.
    type: bool
    default: false
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.release_info
  - module: evenkeel.platform.release_lease
"""

EXAMPLES = r"""
- name: Record the release
  evenkeel.platform.release_journal:
    app: shop
    state: opened
    run: "{{ run }}"
    owner: alice@ci
    reason: Release 1.1
    content: "{{ rendered }}"
    live: "{{ edge.entry.text }}"
  register: release

- name: Record that the images are on every host
  evenkeel.platform.release_journal:
    app: shop
    state: appended
    token: "{{ release.token }}"
    boundary: [fetched]

- name: Seal the release
  evenkeel.platform.release_journal:
    app: shop
    state: sealed
    token: "{{ release.token }}"
    result: live
    live: "{{ edge.entry.text }}"
"""

RETURN = r"""
identity:
  description: The identity of the release.
  returned: always
  type: str
  sample: 1.1+2
hash:
  description: The sha256 of its content.
  returned: always
  type: str
  sample: 3f0a3b6f0f
token:
  description: The token of the run.
  returned: always
  type: int
  sample: 42
run:
  description: The run that was opened.
  returned: always
  type: str
  sample: 20261130T101500Z-00af3e
settled:
  description: Whether the edges serve the release already, so that only the stages after the switch remain.
  returned: always
  type: bool
  sample: false
unchanged:
  description: Whether this very content is live already and no run is unfinished.
  returned: always
  type: bool
  sample: false
held:
  description: Whether the release is held and no retry named it.
  returned: always
  type: bool
  sample: false
migrated:
  description: Whether the expanding migrations of this very release have run already.
  returned: always
  type: bool
  sample: false
held_reason:
  description: Why it is held, in one sentence, or an empty string.
  returned: always
  type: str
  sample: ""
resume:
  description: After which boundary to resume. An empty boundary means from the start.
  returned: always
  type: dict
  contains:
    boundary: {description: The last boundary that counts., type: str, returned: always, sample: fetched}
    from_run: {description: The run that reached it., type: str, returned: always, sample: run-1}
    reason: {description: Why it goes on there., type: str, returned: always, sample: the images are on every host}
from:
  description: The colour that is live, empty before the first release.
  returned: always
  type: str
  sample: blue
to:
  description: The colour the release goes to.
  returned: always
  type: str
  sample: green
boundary:
  description: The last boundary of the run, empty without an open run.
  returned: always
  type: str
  sample: fetched
abandoned:
  description: The identity of the unfinished run that was closed, or an empty string.
  returned: always
  type: str
  sample: ""
pruned:
  description: The identities of the releases that were removed.
  returned: always
  type: list
  elements: str
  sample: []
rehomed:
  description: The recorded host of each singleton that O(homes) moves to another one.
  returned: always
  type: dict
  sample: {bot: app1}
former:
  description: The content of the release that is live, empty unless its run was sealed and no other began since.
  returned: always
  type: dict
  sample: {}
other_secrets:
  description: Names of the secrets whose values differ from those that the release of a rollback ran with.
  returned: always
  type: list
  elements: str
  sample: [api/database_password]
ledger_row:
  description: The row that was written, empty unless sealed.
  returned: always
  type: dict
  sample: {}
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _journal, _ledger
from ansible_collections.evenkeel.platform.plugins.module_utils import _release_records as records_of
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **records_of.LEASE_ARGUMENTS,
    "state": {"type": "str", "choices": ["planned", "opened", "appended", "sealed", "rebuilt"], "required": True},
    "token": {"type": "int", "no_log": False},
    "run": {"type": "str"},
    "owner": {"type": "str"},
    "reason": {"type": "str", "default": ""},
    "kind": {"type": "str", "choices": list(_journal.KINDS), "default": "deploy"},
    "content": {"type": "dict"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "live": {"type": "str", "default": ""},
    "lease_seconds": {"type": "int", "default": 60},
    "migrating": {"type": "bool", "default": False},
    "by_hand": {"type": "bool", "default": False},
    "inventory_release": {"type": "str", "default": ""},
    "releases": {"type": "list", "elements": "dict", "default": []},
    "free_lease": {"type": "bool", "default": False},
    "boundary": {"type": "list", "elements": "str", "choices": list(_journal.BOUNDARIES)},
    "detail": {"type": "dict", "default": {}},
    "restart": {"type": "bool", "default": False},
    "result": {"type": "str", "choices": list(_ledger.RESULTS)},
    "evidence": {"type": "dict", "default": {}},
    "keep": {"type": "int", "default": 5},
    "retry": {"type": "str", "default": ""},
    "homes": {"type": "dict", "default": {}},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "singleton_moved": {"type": "str", "default": ""},
    "held_ok": {"type": "bool", "default": False},
}


def once(records: Records, params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Do what the state asks for, once, under the lock of the app."""
    state = params["state"]
    with records.locked():
        if state in ("planned", "opened"):
            return records_of.open_run(records, params, writing=state == "opened")
        if state == "appended":
            return records_of.append(records, params)
        if state == "sealed":
            return records_of.seal(records, params)
        return records_of.rebuild(records, params)


def waiting_for_lease(records: Records, params: dict[str, t.Any]) -> dict[str, t.Any]:
    """Try again while another run holds the lease and there is time left."""
    deadline = time.monotonic() + params["wait_seconds"]
    while True:
        try:
            return once(records, params)
        except Failure as failure:
            left = deadline - time.monotonic()
            if "lease" not in failure.result or left <= 0 or records.check_mode:
                raise
            time.sleep(min(0.2, left))


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "planned", ("content",)),
            ("state", "opened", ("content", "run", "owner")),
            ("state", "appended", ("boundary", "token")),
            ("state", "sealed", ("result", "token")),
            ("state", "rebuilt", ("run", "owner")),
        ],
    )
    warnings: list[str] = []
    try:
        records = Records.of(module, records_of.MODULE)
        warnings = records.warnings
        result = waiting_for_lease(records, module.params)
    except Failure as failure:
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **{**records_of.empty(), **failure.result})
    for text in warnings:
        module.warn(text)
    if result["other_secrets"] and module.params["kind"] == "rollback":
        module.warn(
            f"release_journal: secrets of release {result['identity']} of app {module.params['app']}: found other "
            f"values today for {', '.join(result['other_secrets'])}; what is started again gets those of today."
        )
    shown = {key: result[key] for key in ("identity", "boundary", "abandoned", "pruned")}
    module.exit_json(diff={"before": {}, "after": shown if result["changed"] else {}}, **result)


if __name__ == "__main__":
    main()
