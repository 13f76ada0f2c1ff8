"""Values of a bolt database (go.etcd.io/bbolt, page.go, bucket.go), read while others write.

Only the pages on the way to a key are read. bbolt never overwrites a page of the newest
transaction, so what was read holds when the transaction is still the same afterwards.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping, Sequence

_META = struct.Struct("<IIIIQQQQQ")  # magic, version, page size, flags, root, sequence, …
_PAGE = struct.Struct("<QHHI")  # id, flags, count, overflow
_BRANCH = struct.Struct("<IIQ")  # position, key size, page
_LEAF = struct.Struct("<IIII")  # flags, position, key size, value size
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 1, 2, 1
_DEEPEST = 32  # branches on the way to a leaf
_LARGEST = 1 << 24  # bytes of a page with its overflow
_MOST = 1 << 26  # bytes of pages and leaves that one question may cost: users write theirs


class Bolt:
    """One open database; ValueError where it is none, or too busy to be read."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._left = 0

    def values(self, *buckets: bytes) -> Mapping[bytes, bytes]:
        """Key to value in a bucket, its own buckets left out; nothing where there is none."""
        return dict(self._steadily(buckets, None))

    def value(self, *path: bytes) -> bytes | None:
        """One value: the buckets' names, then the key."""
        *buckets, key = path
        return next((value for _, value in self._steadily(buckets, key)), None)

    def _steadily(self, buckets: Sequence[bytes], key: bytes | None) -> list[tuple[bytes, bytes]]:
        """The values of one transaction: again where a writer came between."""
        for _ in range(5):
            self._left = _MOST
            size, root, transaction = self._meta()
            try:
                found = list(self._values(size, root, buckets, key))
            except (struct.error, ValueError, OverflowError):
                if self._meta()[2] == transaction:
                    raise ValueError("a malformed bolt database") from None
                continue
            if self._meta()[2] == transaction:
                return found
        raise ValueError("a bolt database that changes faster than it can be read")

    def _meta(self) -> tuple[int, int, int]:
        """Page size, root page and number of the newest transaction, of two meta pages."""
        first = os.pread(self._fd, 16 + _META.size + 8, 0)
        if len(first) < 16 + _META.size + 8:
            raise ValueError("too short for a bolt database")
        size = int.from_bytes(first[24:28], "little")
        metas = []
        for page in (first, os.pread(self._fd, len(first), size)):
            if len(page) < len(first):
                continue
            magic, version, size, _, root, _, _, _, transaction = _META.unpack_from(page, 16)
            told = int.from_bytes(page[-8:], "little")
            if (magic, version, _fnv(page[16:-8])) == (_MAGIC, _VERSION, told):
                metas.append((transaction, size, root))
        if not metas:
            raise ValueError("no bolt database")
        transaction, size, root = max(metas)
        return size, root, transaction

    def _values(
        self, size: int, root: int, buckets: Sequence[bytes], key: bytes | None
    ) -> Iterator[tuple[bytes, bytes]]:
        page = self._page(size, root)
        for name in buckets:
            for flags, found, value in self._leaves(size, page, name):
                if found == name and flags & _IS_BUCKET:
                    number = int.from_bytes(value[:8], "little")
                    # A small bucket lies in its value, behind its header.
                    page = value[16:] if number == 0 else self._page(size, number)
                    break
            else:
                return
        for flags, found, value in self._leaves(size, page, key):
            if not flags & _IS_BUCKET and (key is None or found == key):
                yield found, value

    def _leaves(
        self, size: int, page: bytes, key: bytes | None, depth: int = 0
    ) -> Iterator[tuple[int, bytes, bytes]]:
        """Flags, key and value of the leaf that would have `key`, of all leaves for None."""
        _, flags, count, _ = _PAGE.unpack_from(page)
        if flags & _IS_LEAF:
            for index in range(count):
                offset = _PAGE.size + index * _LEAF.size
                kind, position, keys, values = _LEAF.unpack_from(page, offset)
                start = offset + position
                self._pay(min(keys + values, len(page)))
                yield kind, page[start : start + keys], page[start + keys : start + keys + values]
            return
        if not flags & _IS_BRANCH or depth == _DEEPEST:
            raise ValueError("a page of another kind")
        children = []
        for index in range(count):
            offset = _PAGE.size + index * _BRANCH.size
            position, keys, number = _BRANCH.unpack_from(page, offset)
            children.append((page[offset + position : offset + position + keys], number))
        if key is not None:
            # The last child that begins at or before the key.
            children = [child for child in children if child[0] <= key][-1:]
        for _, number in children:
            yield from self._leaves(size, self._page(size, number), key, depth + 1)

    def _page(self, size: int, number: int) -> bytes:
        self._pay(size)
        page = os.pread(self._fd, size, number * size)
        overflow = _PAGE.unpack_from(page)[3]
        if overflow:
            if overflow * size > _LARGEST:
                raise ValueError("a page that is too large")
            self._pay(overflow * size)
            page += os.pread(self._fd, overflow * size, (number + 1) * size)
        return page

    def _pay(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise ValueError("a database that costs too much to read")


def _fnv(data: bytes) -> int:
    """The 64 bit FNV-1a hash, bbolt's checksum of a meta page."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
