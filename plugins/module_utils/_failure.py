# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one shape of every refusal: what is wrong, on what, found, needed, and what to do."""

from __future__ import annotations

import typing as t


class Failure(Exception):
    """A refusal or a failed step, said in one sentence; extra result keys travel with it."""

    def __init__(self, sentence: str, **result: t.Any) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.result = result


class ProxyDown(Failure):
    """The proxy does not run, or does not answer."""


def sentence(module: str, what: str, subject: str, found: str, need: str, remedy: str) -> str:
    """Return C(<module>: <what> on <object>: found <x>, need <y>. <what to set or run>.)"""
    return f"{module}: {what} on {subject}: found {found}, need {need}. {remedy.rstrip('.')}."
