# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that choose and check the apps of a run."""

from __future__ import annotations

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.evenkeel.platform.plugins.module_utils import _app_choice, _app_problems


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
            "app_choice_problems": _filter(_app_choice.choice_problems),
            "app_chosen": _filter(_app_choice.chosen),
            "app_hosts": _filter(_app_choice.hosts),
            "app_problems": _filter(_app_problems.problems),
        }
