# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A minimal implementation of Prometheus' text format: counters, gauges and histograms."""

from __future__ import annotations

import bisect
from collections.abc import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _labels(pairs: dict[str, str]) -> str:
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items())
    return "{" + inner + "}" if inner else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


class Registry:
    def __init__(self, **constant: str) -> None:
        self.constant = constant
        self._families: list[tuple[str, str, str, Callable[[], list[str]]]] = []

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        metric = Counter(self, name, labels)
        self._families.append((name, "counter", text, metric.lines))
        return metric

    def histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = BUCKETS) -> Histogram:
        metric = Histogram(self, name, labels, buckets)
        self._families.append((name, "histogram", text, metric.lines))
        return metric

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        def lines() -> list[str]:
            return [f"{name}{_labels(self.constant)} {_number(read())}"]

        self._families.append((name, "gauge", text, lines))

    def render(self) -> str:
        out: list[str] = []
        for name, kind, text, lines in self._families:
            out += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *lines()]
        return "\n".join(out) + "\n"


class Counter:
    def __init__(self, registry: Registry, name: str, labels: tuple[str, ...]) -> None:
        self._registry, self._name, self._labels = registry, name, labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0}

    def add(self, *values: str, by: float = 1) -> None:
        self._values[values] = self._values.get(values, 0) + by

    def lines(self) -> list[str]:
        out = []
        for key, value in sorted(self._values.items()):
            labels = dict(zip(self._labels, key, strict=True)) | self._registry.constant
            out.append(f"{self._name}{_labels(labels)} {_number(value)}")
        return out


class Histogram:
    def __init__(self, registry: Registry, name: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> None:
        self._registry, self._name, self._labels, self._buckets = registry, name, labels, buckets
        self._values: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}

    def observe(self, seconds: float, *values: str) -> None:
        counts, total = self._values.setdefault(values, ([0] * (len(self._buckets) + 1), [0.0]))
        counts[bisect.bisect_left(self._buckets, seconds)] += 1
        total[0] += seconds

    def lines(self) -> list[str]:
        out = []
        for key, (counts, total) in sorted(self._values.items()):
            labels = dict(zip(self._labels, key, strict=True)) | self._registry.constant
            running = 0
            for bound, count in zip((*map(_number, self._buckets), "+Inf"), counts, strict=True):
                running += count
                out.append(f"{self._name}_bucket{_labels(labels | {'le': bound})} {running}")
            out.append(f"{self._name}_sum{_labels(labels)} {total[0]!r}")
            out.append(f"{self._name}_count{_labels(labels)} {running}")
        return out
