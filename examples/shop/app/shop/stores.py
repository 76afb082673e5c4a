# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""PostgreSQL and Redis: connect on first use, with retries, so that the start order does not matter."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import asyncpg
import redis.asyncio
import redis.backoff
import redis.credentials
import redis.exceptions
from redis.asyncio.retry import Retry

from shop import settings

QUEUE = "shop:jobs"


class Unavailable(Exception):
    """A store is unreachable; nothing was sent."""


def database_arguments() -> dict:
    arguments = {
        "host": settings.word("DATABASE_HOST", "localhost"),
        "port": settings.whole("DATABASE_PORT", 5432, 1, 65535),
        "database": settings.word("DATABASE_NAME", "shop"),
        "user": settings.word("DATABASE_USER", "shop"),
        "password": lambda: settings.secret("DATABASE_PASSWORD"),
        "timeout": 5,
    }
    mode = settings.word("DATABASE_SSLMODE")
    if mode:
        arguments["ssl"] = mode
    return arguments


class Database:
    def __init__(self, name: str) -> None:
        self._arguments = database_arguments() | {
            "min_size": 0,
            "max_size": settings.whole("DATABASE_POOL", 5, 1, 1000),
            "command_timeout": 30,
            "server_settings": {"application_name": name},
        }
        self._pool: asyncpg.Pool | None = None
        self._last_good = float("-inf")

    def good_within(self, seconds: float) -> bool:
        return time.monotonic() - self._last_good < seconds

    @contextlib.asynccontextmanager
    async def connection(self, patience: float = 5.0) -> AsyncIterator[asyncpg.Connection]:
        """Provide a connection of the pool. Connecting is retried, statements never are."""
        if self._pool is None:
            self._pool = asyncpg.create_pool(**self._arguments)
            await self._pool
        until = time.monotonic() + patience
        pause = 0.05
        while True:
            try:
                borrowed = await self._pool.acquire(timeout=max(0.01, until - time.monotonic()))
                break
            except (OSError, asyncpg.PostgresError, settings.SettingsError) as exc:
                if time.monotonic() + pause >= until:
                    raise Unavailable(f"PostgreSQL: {type(exc).__name__}: {exc}") from exc
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)
        try:
            yield borrowed
            self._last_good = time.monotonic()
        finally:
            await self._pool.release(borrowed)

    async def close(self) -> None:
        if self._pool is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._pool.close(), 2)


class _Password(redis.credentials.CredentialProvider):
    def get_credentials(self) -> tuple[str, ...]:
        password = settings.secret("REDIS_PASSWORD")
        return (password,) if password else ()

    async def get_credentials_async(self) -> tuple[str, ...]:
        return self.get_credentials()


def redis_client(**more) -> redis.asyncio.Redis:
    # Without a password, a provider would make the client send an empty AUTH.
    provider = _Password() if settings.secret("REDIS_PASSWORD") else None
    return redis.asyncio.Redis(
        host=settings.word("REDIS_HOST", "localhost"),
        port=settings.whole("REDIS_PORT", 6379, 1, 65535),
        credential_provider=provider,
        socket_connect_timeout=2,
        socket_timeout=5,
        decode_responses=True,
        retry=Retry(redis.backoff.ConstantBackoff(0.1), 1),
        **more,
    )
