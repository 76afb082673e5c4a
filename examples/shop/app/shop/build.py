# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Release and faults of the image. Read from the image, never from the environment, so
that a wrongly started image cannot report another release."""

from __future__ import annotations

import os
import pathlib
import re

ROOT = pathlib.Path(os.environ.get("SHOP_ROOT", pathlib.Path(__file__).resolve().parent.parent))

FAULTS = ("", "neverready", "crash20", "errors", "slow", "badmigration", "oom", "badworker")


def read(name: str, root: pathlib.Path = ROOT) -> str:
    try:
        return (root / name).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def version(release: str) -> tuple[int, ...]:
    """Return the version of a release for sorting: 1.2-oom is (1, 2)."""
    match = re.match(r"\d+(\.\d+)*", release)
    if not match:
        raise ValueError(f"shop: release {release!r} does not start with a number such as 1.0")
    return tuple(int(part) for part in match.group().split("."))


RELEASE = read("RELEASE") or "0.0-unbuilt"
FAULT = read("FAULT")
if FAULT not in FAULTS:
    raise SystemExit(f"shop: found build argument FAULT={FAULT!r}, need one of {FAULTS!r}")
