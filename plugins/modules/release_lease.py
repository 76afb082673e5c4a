#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lease
short_description: Take, renew, free or break the lease of an app
version_added: 0.1.0
description:
  - One run at a time may change an app. It takes the lease on the record host and gets a token,
    which is higher than every token given before.
  - A run that is paused past the end of its lease and then continues is stopped by its token, not by the lease. Every
    host refuses a token that is lower than the highest it has met.
  - A lease expires O(lease_seconds) after it was renewed last. Within one boot of the record host the
    monotonic clock decides that, so a stepped wall clock does no harm.
extends_documentation_fragment:
  - evenkeel.platform.attributes
  - evenkeel.platform.state
  - evenkeel.platform.lease
options:
  state:
    description:
      - V(taken) takes the lease, or renews it when O(run) holds it already.
      - V(renewed) extends the lease of O(token), V(freed) ends it. Both refuse a stale token.
      - V(broken) ends the lease of the run that holds it and raises the token, so that this run changes nothing more. A
        lease that is free or expired is left as it is.
    type: str
    choices: [taken, renewed, freed, broken]
    default: taken
  owner:
    description: Who runs this. Required with O(state=taken) and O(state=broken).
    type: str
  run:
    description: Identifies the run. Required with O(state=taken).
    type: str
  token:
    description: The token that was given with the lease. Required with V(renewed) and V(freed).
    type: int
  lease_seconds:
    description: How long the lease lasts after it was taken or renewed.
    type: int
    default: 60
  reason:
    description: Why, stored with the lease. Required with O(state=broken).
    type: str
    default: ""
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.release_journal
"""

EXAMPLES = r"""
- name: Acquire the lease of the app
  evenkeel.platform.release_lease:
    app: shop
    owner: alice@ci
    run: "2026-11-21T10:00:00Z-4711"
    reason: Release 1.1
    wait_seconds: 300
  register: lease

- name: Free the lease
  evenkeel.platform.release_lease:
    app: shop
    state: freed
    token: "{{ lease.token }}"

- name: Break the lease of a run that hangs
  evenkeel.platform.release_lease:
    app: shop
    state: broken
    owner: alice
    reason: The runner was lost
"""

RETURN = r"""
token:
  description: The token of the lease; the highest one given when the lease is free.
  returned: always
  type: int
  sample: 42
lease:
  description: The lease as it is now.
  returned: always
  type: dict
  contains:
    token:
      description: Its token.
      returned: always
      type: int
      sample: 42
    owner:
      description: Who holds or held it.
      returned: always
      type: str
      sample: alice@ci
    run:
      description: The run that holds or held it.
      returned: always
      type: str
      sample: run-1
    reason:
      description: Why it was taken.
      returned: always
      type: str
      sample: Release 1.1
    taken_at:
      description: When it was taken.
      returned: always
      type: str
      sample: "2026-11-21T10:00:00.000Z"
    renewed_at:
      description: When it was renewed last.
      returned: always
      type: str
      sample: "2026-11-21T10:01:00.000Z"
    expires_at:
      description: When it ends unless renewed.
      returned: always
      type: str
      sample: "2026-11-21T10:03:00.000Z"
    ttl_seconds:
      description: How long it lasts.
      returned: always
      type: int
      sample: 120
    freed_at:
      description: When it was freed.
      returned: always
      type: str
      sample: null
    broken:
      description: The lease that was broken here and by whom.
      returned: always
      type: dict
      sample: null
    controller:
      description: What identifies the process that took it.
      returned: always
      type: dict
      sample: {}
held:
  description: Whether a run holds the lease now.
  returned: always
  type: bool
  sample: true
"""

import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _clock, _lease
from ansible_collections.evenkeel.platform.plugins.module_utils import _release_records as records_of
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, Records

ARGUMENT_SPEC: dict[str, t.Any] = {
    **STATE_ARGUMENTS,
    **records_of.LEASE_ARGUMENTS,
    "state": {"type": "str", "choices": ["taken", "renewed", "freed", "broken"], "default": "taken"},
    "owner": {"type": "str"},
    "run": {"type": "str"},
    "token": {"type": "int", "no_log": False},
    "lease_seconds": {"type": "int", "default": 60},
    "reason": {"type": "str", "default": ""},
}


def once(records: Records, params: dict[str, t.Any]) -> tuple[_lease.Lease | None, _lease.Lease | None]:
    """Change the lease once, under the lock of the app; return it as it was and as it is."""
    with records.locked():
        before = records.read("lease.json")
        state = params["state"]
        if state == "taken":
            return before, records_of.take_lease(records, params)
        if state == "broken":
            return before, records_of.break_lease(records, params)
        now = _clock.now()
        if state == "renewed":
            after = _lease.renewed(before, now, app=records.app, token=params["token"], ttl=params["lease_seconds"])
        else:
            after = _lease.freed(before, now, app=records.app, token=params["token"])
        if after != before:
            records.write(after, "lease.json")
        return before, after


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "taken", ("owner", "run")),
            ("state", "renewed", ("token",)),
            ("state", "freed", ("token",)),
            ("state", "broken", ("owner", "reason")),
        ],
    )
    params = module.params
    warnings: list[str] = []
    try:
        if params["state"] == "broken" and not params["reason"].strip():
            raise Failure(
                "release_lease: no reason is given for breaking the lease on "
                f"{params['app']}: found an empty reason, need one. Set reason."
            )
        records = Records.of(module, "release_lease")
        warnings = records.warnings
        deadline = time.monotonic() + params["wait_seconds"]
        while True:
            try:
                before, after = once(records, params)
                break
            except Failure as failure:
                waiting = params["state"] == "taken" and "lease" in failure.result
                left = deadline - time.monotonic()
                if not waiting or left <= 0 or module.check_mode:
                    raise
                time.sleep(min(0.2, left))
    except Failure as failure:
        result = {"token": 0, "lease": _lease.public(None), "held": "lease" in failure.result, **failure.result}
        for text in warnings:
            module.warn(text)
        module.fail_json(msg=failure.sentence, **result)
    for text in warnings:
        module.warn(text)
    shown = (_lease.public(before), _lease.public(after))
    module.exit_json(
        changed=before != after,
        token=_lease.highest(after),
        lease=shown[1],
        held=_lease.held(after, _clock.now()),
        diff={"before": shown[0], "after": shown[1]},
    )


if __name__ == "__main__":
    main()
