# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings from the environment. Secrets are read from files for every new connection, so
a rotated password needs no restart."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping


class SettingsError(Exception):
    pass


def secret(name: str, env: Mapping[str, str] = os.environ, folder: str = "/run/secrets") -> str | None:
    """Return the secret NAME: from the file NAME_FILE, the file of that name in the secrets
    folder, or the variable itself."""
    said = env.get(name + "_FILE", "")
    path = pathlib.Path(said or f"{folder}/{name.lower()}")
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except FileNotFoundError:
        if said:
            raise SettingsError(
                f"shop: {name}_FILE is wrong: found no file {path}, need a file with the secret."
            ) from None
        return env.get(name) or None
    except PermissionError:
        raise SettingsError(
            f"shop: {path} cannot be read by uid {os.getuid()}. Make that user its owner, mode 0400."
        ) from None


def number(name: str, default: float, low: float, high: float, env: Mapping[str, str] = os.environ) -> float:
    text = env.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise SettingsError(f"shop: {name} is wrong: found {text!r}, need a number from {low:g} to {high:g}.")
    return value


def whole(name: str, default: int, low: int, high: int, env: Mapping[str, str] = os.environ) -> int:
    return int(number(name, default, low, high, env))


def word(name: str, default: str = "", env: Mapping[str, str] = os.environ) -> str:
    return env.get(name, "") or default
