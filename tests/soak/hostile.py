"""Clients that hold connections: `python -m tests.soak.hostile PORT CA`, until they are ended.

200 that say nothing (half of them after the handshake), 200 with half a request, 50 that read a
byte of the answer a second. Whoever is cut off comes again a second later.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys

IDLE, HALF, SLOW = 200, 200, 50


async def hold(port: int, tls: ssl.SSLContext | None, sent: bytes, read: int) -> None:
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=tls, server_hostname=tls and "localhost", limit=1
            )
            try:
                writer.write(sent)
                while await reader.read(read):
                    await asyncio.sleep(1)
            finally:
                writer.transport.abort()
        await asyncio.sleep(1)


async def main(port: int, ca: str) -> None:
    tls = ssl.create_default_context(cafile=ca)
    half = b"GET /metrics HTTP/1.1\r\nHost: loc"
    whole = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    await asyncio.gather(
        *(hold(port, None, b"", 1) for _ in range(IDLE // 2)),
        *(hold(port, tls, b"", 1) for _ in range(IDLE // 2)),
        *(hold(port, tls, half, 1) for _ in range(HALF)),
        *(hold(port, tls, whole, 1) for _ in range(SLOW)),
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
