#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: alert_test
short_description: Send a test alert through each receiver and report the outcome
version_added: 0.1.0
description:
  - Sends Alertmanager one alert for each receiver, which its settings route there at once, and reads from its metrics
    whether the receiver accepted it.
  - Alertmanager must run with C(--enable-feature=receiver-name-in-metrics), as the role monitoring starts it.
extends_documentation_fragment:
  - evenkeel.platform.attributes
options:
  receivers:
    description: Names of the receivers.
    type: list
    elements: str
    required: true
  url:
    description: Address of Alertmanager.
    type: str
    default: http://127.0.0.1:9093
  timeout_seconds:
    description: Seconds until every receiver must have accepted or refused its test.
    type: int
    default: 60
attributes:
  diff_mode:
    support: none
    description: It changes no settings.
  idempotent:
    support: none
    description: It sends a test each time.
author:
  - The Evenkeel authors (@evenkeel)
"""

EXAMPLES = r"""
- name: Send test alerts
  evenkeel.platform.alert_test:
    receivers: [team, pager]
"""

RETURN = r"""
outcomes:
  description: One sentence for each receiver.
  returned: always
  type: list
  elements: str
  sample: ["team: accepted the test after 0.6 s"]
accepted:
  description: The receivers that accepted their test.
  returned: always
  type: list
  elements: str
  sample: [team]
"""

import datetime
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _alert_delivery
from ansible_collections.evenkeel.platform.plugins.module_utils._alertmanager import Alertmanager
from ansible_collections.evenkeel.platform.plugins.module_utils._failure import Failure, sentence

ARGUMENT_SPEC: dict[str, t.Any] = {
    "receivers": {"type": "list", "elements": "str", "required": True},
    "url": {"type": "str", "default": "http://127.0.0.1:9093"},
    "timeout_seconds": {"type": "int", "default": 60},
}
MODULE = "alert_test"


def send(alertmanager: Alertmanager, receivers: list[str], seconds: int) -> dict[str, str]:
    """Send the tests and wait; return a sentence for each receiver."""
    before = _alert_delivery.counts(alertmanager.figures())
    now = datetime.datetime.now(datetime.UTC)
    alertmanager.send([_alert_delivery.alert(receiver, now) for receiver in receivers])
    started = time.monotonic()
    outcomes: dict[str, str] = {}
    while len(outcomes) < len(receivers) and time.monotonic() - started < seconds:
        time.sleep(0.2)
        after = _alert_delivery.counts(alertmanager.figures())
        for receiver in receivers:
            if receiver not in outcomes and _alert_delivery.accepted(receiver, before, after):
                outcomes[receiver] = f"accepted the test after {time.monotonic() - started:.1f} s"
    for receiver in receivers:
        if receiver not in outcomes:
            outcomes[receiver] = _alert_delivery.refusal(receiver, before, after, seconds)
    return outcomes


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    receivers = module.params["receivers"]
    result: dict[str, t.Any] = {"changed": False, "outcomes": [], "accepted": []}
    if not receivers:
        message = sentence(
            MODULE, "receivers", module.params["url"], "none", "at least one", "Set monitoring_receivers"
        )
        module.fail_json(msg=message, **result)
    if module.check_mode:
        module.exit_json(**{**result, "outcomes": [f"{receiver}: would be sent a test" for receiver in receivers]})
    try:
        outcomes = send(Alertmanager(MODULE, module.params["url"]), receivers, module.params["timeout_seconds"])
    except Failure as failure:
        module.fail_json(msg=failure.sentence, **result)
    result["outcomes"] = [f"{receiver}: {outcome}" for receiver, outcome in outcomes.items()]
    result["accepted"] = [receiver for receiver, outcome in outcomes.items() if outcome.startswith("accepted")]
    missing = [f"{receiver} {outcomes[receiver]}" for receiver in receivers if receiver not in result["accepted"]]
    if missing:
        remedy = "Read Alertmanager's log, and correct secret or settings in monitoring_receivers"
        message = sentence(
            MODULE, "the test", module.params["url"], "; ".join(missing), "every receiver to accept it", remedy
        )
        module.fail_json(msg=message, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
