# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lab's fixtures for this folder."""

from ansible_collections.evenkeel.platform.tests.shop import folder, lab

__all__ = ["folder", "lab"]
