#!/usr/bin/python
# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: release_info
short_description: Gather information about the releases of an app
version_added: 0.1.0
description: Reads the records of an app on the record host. Nothing is written, repaired or locked.
extends_documentation_fragment:
  - evenkeel.platform.attributes.info
  - evenkeel.platform.state
options:
  count:
    description: How many rows of the ledger to return.
    type: int
    default: 10
author:
  - The Evenkeel authors (@evenkeel)
seealso:
  - module: evenkeel.platform.release_journal
"""

EXAMPLES = r"""
- name: Read the ledger
  evenkeel.platform.release_info:
    app: shop
  register: releases
"""

RETURN = r"""
releases:
  description: The stored releases, newest first.
  returned: always
  type: list
  elements: dict
  sample: [{"identity": "1.1", "release": "1.1", "created_at": "2026-11-21T10:00:00.000Z"}]
ledger:
  description: The sealed rows, newest first.
  returned: always
  type: list
  elements: dict
  sample: [{"identity": "1.1", "result": "live", "sealed_at": "2026-11-21T10:00:00.000Z"}]
lease:
  description: The lease, with C(held).
  returned: always
  type: dict
  sample: {"token": 42, "held": false}
held:
  description: The held releases.
  returned: always
  type: list
  elements: dict
  sample: [{"identity": "1.1", "result": "refused", "at": "2026-11-21T10:00:00.000Z", "reason": "", "owner": "al"}]
pending_contract:
  description: The contract migrations of the live release that have not run.
  returned: always
  type: list
  elements: dict
  sample: []
unfinished:
  description: The run that was opened and not sealed, or an empty dict.
  returned: always
  type: dict
  sample: {"identity": "1.1", "boundary": "fetched", "run": "run-1"}
warm:
  description: The side that the last release left warm, or an empty dict. Only an edge knows whether it is warm still.
  returned: always
  type: dict
  sample: {"identity": "1.0", "colour": "blue", "until": "2026-11-21T10:10:00.000Z"}
live_rows:
  description: The last two rows that made a release live, newest first.
  returned: always
  type: list
  elements: dict
  sample: [{"identity": "1.1", "result": "live", "sealed_at": "2026-11-21T10:00:00.000Z"}]
unfinished_lines:
  description: The journal of the run that was opened and not sealed, oldest first.
  returned: always
  type: list
  elements: dict
  sample: []
homes:
  description: The recorded host of each singleton.
  returned: always
  type: dict
  sample: {"bot": "app1"}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.evenkeel.platform.plugins.module_utils import _release_records
from ansible_collections.evenkeel.platform.plugins.module_utils._state import STATE_ARGUMENTS, inform

ARGUMENT_SPEC: dict[str, t.Any] = {**STATE_ARGUMENTS, "count": {"type": "int", "default": 10}}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    inform(module, "release_info", lambda records: _release_records.facts(records, module.params["count"]))


if __name__ == "__main__":
    main()
