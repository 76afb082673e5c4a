# Copyright (c) 2026, The Evenkeel authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sum over the rows of a table, and the process that computes it.

The sum of a table is, over its lines in the text form of COPY, without the newline:

    sum = blake2b(line, digest_size=16, salt=salt) + ... mod 2**128, each digest a little-endian integer

The construction is that of MSet-Add-Hash by D. Clarke, S. Devadas, M. van Dijk, B. Gassend and G. E. Suh, "Incremental
Multiset Hash Functions and Their Application to Memory Integrity Checking" (ASIACRYPT 2003), with the salt as its
secret key. The order of rows does not count, as PostgreSQL guarantees none. Addition counts equal rows, which exclusive
or would cancel in pairs.

BLAKE2b (RFC 7693) is in the standard library and fast for short input without special CPU instructions. The salt is
random for each backup and stored only in its manifest. Without it, somebody who may write rows could search for other
rows of the same sum, which is easier than for a single digest (D. Wagner, "A Generalized Birthday Problem", CRYPTO
2002). Two different tables have the same sum by accident with a probability of 2**-128.

Limits: a sum shows that a table differs, not which rows. Who knows the salt, which needs the key of the repository, can
construct rows of the same sum.

This file is also a program of its own, to use one processor for each process; it imports nothing of the package.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

BLOCK = 1 << 20
DIGEST_BYTES = 16
MODULUS = 1 << (8 * DIGEST_BYTES)
# COPY escapes each backslash of the data, so no row begins with these two bytes: pg_dump ends a table with them.
END = b"\\."
SALT = "EVENKEEL_SALT"


class Total:
    """Number and sum of lines; takes blocks of any size, and holds at most one of them in memory."""

    def __init__(self, salt: bytes) -> None:
        self.new: Callable[[], Any] = hashlib.blake2b(digest_size=DIGEST_BYTES, salt=salt).copy
        self.lines = 0
        self.sum = 0

    def add(self, lines: Iterable[bytes]) -> None:
        """Add whole lines, without their newlines."""
        new, number, total, count = self.new, int.from_bytes, 0, 0
        for line in lines:
            one = new()
            one.update(line)
            total += number(one.digest(), "little")
            count += 1
        self.sum = (self.sum + total) % MODULUS
        self.lines += count

    def add_digest(self, one: Any) -> None:
        """Add one line that was hashed in parts."""
        self.sum = (self.sum + int.from_bytes(one.digest(), "little")) % MODULUS
        self.lines += 1

    @property
    def result(self) -> list[Any]:
        """Return number and sum, for JSON."""
        return [self.lines, f"{self.sum:0{2 * DIGEST_BYTES}x}"]


def totals(read: Callable[[int], bytes], salt: bytes) -> Iterator[tuple[bytes, Total]]:
    """Yield each table of a stream, with the rest of the line that ends it; raise EOFError where the last has no end.

    The rest of that line is empty in a data file of pg_dump, and the table's number in a stream of several tables.
    """
    total = Total(salt)
    rest, wide = b"", None
    while block := read(BLOCK):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if wide is not None and lines:
            wide.update(lines.pop(0))
            total.add_digest(wide)
            wide = None
        # A search of the block is faster than a comparison for each line.
        if END in block or (lines and lines[0].startswith(END)):
            start = 0
            for index, line in enumerate(lines):
                if line.startswith(END):
                    total.add(lines[start:index])
                    yield line[len(END) :], total
                    total, start = Total(salt), index + 1
            lines = lines[start:]
        total.add(lines)
        if wide is not None or (len(rest) >= BLOCK and not rest.startswith(END)):
            # A row wider than a block is hashed in parts.
            wide = wide or total.new()
            wide.update(rest)
            rest = b""
    if rest or wide is not None or total.lines:
        raise EOFError("the data ends without its mark")


def pages(read: Callable[[int], bytes], number: int, page_bytes: int) -> Iterator[bytes]:
    """Yield the lines of a large object: its number, and each page as COPY writes pg_largeobject."""
    yield b"%d" % number
    index = 0
    while page := read(page_bytes):
        yield b"%d\t%d\t\\\\x%s" % (number, index, page.hex().encode())
        index += 1


def opened(path: str) -> BinaryIO:
    """Open a data file; refuse links, because the folder belongs to the server's user."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(f"{path} is no regular file")
    stream = os.fdopen(handle, "rb")
    return cast("BinaryIO", gzip.GzipFile(fileobj=stream)) if path.endswith(".gz") else stream


def of_file(path: str, salt: bytes) -> list[Any]:
    """Return number and sum of the rows in a data file of pg_dump."""
    with opened(path) as stream:
        for _rest, total in totals(stream.read, salt):
            return total.result
    raise EOFError("the data ends without its mark")


def of_objects(paths: dict[str, str], page_bytes: int, salt: bytes) -> list[Any]:
    """Return number of lines and sum of large objects, from pg_dump's file of each."""
    total = Total(salt)
    for number, path in paths.items():
        with opened(path) as stream:
            total.add(pages(stream.read, int(number), page_bytes))
    return total.result


def main(arguments: list[str]) -> int:
    """Print the sums as JSON: of the files in a JSON object on standard input, or of a stream of several tables.

    A file that cannot be read has its error in place of the sum.
    """
    salt = bytes.fromhex(os.environ[SALT])
    found: dict[str, Any] = {}
    if arguments == ["stream"]:
        for rest, total in totals(sys.stdin.buffer.read, salt):
            found[rest.decode().strip()] = total.result
    else:
        task = json.load(sys.stdin)
        for name, path in task["tables"].items():
            try:
                found[name] = of_file(path, salt)
            except (OSError, EOFError, ValueError) as failure:
                found[name] = f"{type(failure).__name__}: {failure}"
        if task["objects"]:
            found["objects"] = of_objects(task["objects"], task["page_bytes"], salt)
    json.dump(found, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
