# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters over an app's description; each is a function of module_utils/_app.py under the name app_<function>."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.module_utils import _app


def _filter(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
    def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
        try:
            return function(*args, **kwargs)
        except (KeyError, TypeError, ValueError) as exc:
            raise AnsibleFilterError(str(exc)) from exc

    return call


class FilterModule:
    """Registers the filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {
            f"app_{function.__name__}": _filter(function)
            for function in (
                _app.allocate_ports,
                _app.background_stack,
                _app.choice_problems,
                _app.chosen,
                _app.colour_stack,
                _app.complete,
                _app.content,
                _app.edge_record,
                _app.gate_targets,
                _app.hosts,
                _app.images_of,
                _app.migration_stack,
                _app.minimum_servers,
                _app.pinned,
                _app.port_rules,
                _app.problems,
                _app.recorded_ports,
                _app.routes_of,
                _app.scheduled_jobs,
                _app.secret_values,
                _app.stack_secrets,
                _app.stack_waivers,
                _app.with_secrets,
            )
        }
