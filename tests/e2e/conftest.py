# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's fixtures for this folder."""

import pytest

from ansible_collections.evenkeel.platform.tests.shop import folder, lab

__all__ = ["folder", "lab"]

ORDER = ("test_main_job", "test_bad_input", "test_singleton_moves", "test_backup", "test_controller_killed_short")
LAST = ("test_uninstall", "test_contract", "test_edge_added")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the main job first, which deploys the shop, and its uninstallation last."""

    def place(item: pytest.Item) -> int:
        name = item.path.stem
        if name in LAST:
            return len(ORDER) + 1 + LAST.index(name)
        return ORDER.index(name) if name in ORDER else len(ORDER)

    items.sort(key=place)
