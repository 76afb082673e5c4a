# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's fixtures for this folder."""

import pytest

from ansible_collections.evenkeel.platform.tests.shop import folder, lab

__all__ = ["folder", "lab"]

ORDER = ("test_main_job", "test_bad_input", "test_backup", "test_controller_killed_short")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The main job comes first: it is what brings the shop into the lab."""
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER))
