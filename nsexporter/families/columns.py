"""A Snapshot by columns: for one source, one value for every cgroup, in the snapshot's order.

Values stay the kernel's bytes; None is absent. A text that is malformed is absent and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from operator import is_
from typing import Any, TypeVar

from nsexporter.families import labels
from nsexporter.kernel import parse
from nsexporter.model import Cgroup, Container, Snapshot

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Memo = dict[Hashable, tuple[tuple[object, ...], Any]]
"""What was made, by what it is, with what it was made of."""


class Columns:
    """Columns of one snapshot, each made once.

    `malformed` maps a file's name to how many texts of it had not the format they should have.
    With the memo of the pass before, a column that is equal to the one then is the same object,
    and what is made of the same objects only is not made again: as in a spreadsheet, only what
    follows from a cell that has changed is computed.
    """

    def __init__(self, snapshot: Snapshot, memo: Memo | None = None) -> None:
        self.snapshot = snapshot
        self.cgroups: tuple[Cgroup, ...] = snapshot.cgroups
        self.malformed: Counter[str] = Counter()
        self._memo: Memo = {} if memo is None else memo
        self._changed: dict[int, tuple[object, Sequence[int]]] = {}

    def made(self, key: Hashable, make: Callable[..., T], *inputs: object) -> T:
        """`make(*inputs)`, or the object of the pass before where that is equal.

        Where the inputs are the same objects as then, nothing is made.
        """
        kept = self._memo.get(key)
        if kept is None or len(kept[0]) != len(inputs) or not all(map(is_, kept[0], inputs)):
            value = make(*inputs)
            if kept is not None and kept[1] == value:
                value = kept[1]
            kept = self._memo[key] = (inputs, value)
        made: T = kept[1]
        return made

    def same(self, key: Hashable, value: T) -> T:
        """`value`, or the object of the pass before where that is equal."""
        return self.made(key, lambda _: value, object())

    def each(
        self, key: Hashable, items: Iterable[K], make: Callable[[K], T], *inputs: object
    ) -> Sequence[T]:
        """`make` of every item, each another one; not again of those of the pass before.

        What `make` takes besides the item are the `inputs`: of others everything is made anew.
        """
        before, known = self._memo.get((key, "each"), ((), {}))
        if len(before) != len(inputs) or not all(map(is_, before, inputs)):
            known = {}
        made = {item: known[item] if item in known else make(item) for item in items}
        self._memo[key, "each"] = inputs, made
        return self.same(key, [*made.values()])

    def column(self, key: Hashable, value: Callable[[Cgroup], T]) -> Sequence[T]:
        """`value` of every cgroup; asked of those only that are not what they were.

        Where it is the same of all as in the pass before, the column is the same object.
        """
        before, kept = self._memo.get(key, ((), None))
        column: list[T]
        if kept is None or len(before) != len(self.cgroups):
            column = [value(cgroup) for cgroup in self.cgroups]
        else:
            column = kept
            now = ((index, value(self.cgroups[index])) for index in self._changed_since(before))
            changed = [(index, one) for index, one in now if one != kept[index]]
            if changed:
                column = kept.copy()
                for index, one in changed:
                    column[index] = one
        self._memo[key] = (self.cgroups, column)
        return column

    def _changed_since(self, before: tuple[object, ...]) -> Sequence[int]:
        """The indexes of cgroups that are other objects than `before`."""
        if id(before) not in self._changed:
            same = map(is_, before, self.cgroups)
            changed = [index for index, kept in enumerate(same) if not kept]
            self._changed[id(before)] = before, changed
        return self._changed[id(before)][1]

    @property
    def whole(self) -> Columns:
        """Columns of all cgroups that were read, those too that the patterns or the cap drop."""
        return self if self._every is None else self._every

    @cached_property
    def _every(self) -> Columns | None:
        if not self.snapshot.every:
            return None  # to keep itself would be a cycle, whose memory comes back late
        _, memo = self._memo.setdefault("whole", ((), {}))
        return Columns(replace(self.snapshot, cgroups=self.snapshot.every, every=()), memo)

    def shown(self, values: list[T]) -> list[T]:
        """Of one value for each cgroup of `whole`, those of ours."""
        if self.whole is self:
            return values
        ours = {cgroup.path for cgroup in self.cgroups}
        return [
            value
            for value, cgroup in zip(values, self.whole.cgroups, strict=True)
            if cgroup.path in ours
        ]

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers of the snapshot."""
        return self.same("containers", self.snapshot.containers)

    @cached_property
    def whose(self) -> Sequence[object]:
        """What a cgroup's labels are made of, for every cgroup."""
        return self.column("whose", _whose)

    @cached_property
    def labels(self) -> Sequence[bytes]:
        """The label text of every cgroup."""

        def texts(_: object) -> list[bytes]:
            return [labels.text(labels.of_cgroup(cgroup)) for cgroup in self.cgroups]

        return self.made("labels", texts, self.whose)

    def number(self, name: str) -> Sequence[bytes | None]:
        """A file of one number."""
        return self._parsed(name, parse.number)

    def limit(self, name: str) -> Sequence[bytes | None]:
        """A file of one limit: digits, or +Inf."""
        return self._parsed(name, parse.limit)

    def key(self, name: str, key: bytes) -> Sequence[bytes | None]:
        """One key of a flat keyed file."""
        return self.made((name, key), _of_key(key), self._parsed(name, parse.flat_keyed))

    def pressure(self, name: str, kind: bytes) -> Sequence[bytes | None]:
        """Stall time in seconds, of `some` or `full` in a pressure file."""
        totals = self.made((name, kind), _of_key(kind), self._parsed(name, parse.pressure_totals))
        return self.made(
            (name, kind, "seconds"),
            lambda column: [None if total is None else seconds(total) for total in column],
            totals,
        )

    def numa_stat(self, name: str) -> Sequence[dict[bytes, dict[str, int]] | None]:
        """A file of keys by NUMA node, as parse.numa_stat tells it."""
        return self._parsed(name, parse.numa_stat)

    @property
    def file_names(self) -> frozenset[str]:
        """The names of all files that some cgroup has."""
        return frozenset[str]().union(*(cgroup.files for cgroup in self.cgroups))

    def stat(self, key: bytes) -> Sequence[bytes | None]:
        """One key of memory.stat."""
        column = self._stats.get(key) or (None,) * len(self.cgroups)
        return self.same(("memory.stat", key), column)

    @cached_property
    def _stats(self) -> Mapping[bytes, tuple[bytes | None, ...]]:
        """memory.stat turned: key to its values. Nearly all cgroups have the same keys."""
        if not self.cgroups:
            return {}
        layouts = Counter(cgroup.stat_keys for cgroup in self.cgroups)
        ((common, _),) = layouts.most_common(1)
        keys = tuple(dict.fromkeys(chain(common, *layouts)))
        lacking = (None,) * (len(keys) - len(common))
        rows = [
            cgroup.stat + lacking
            if cgroup.stat_keys == common
            else map(dict(zip(cgroup.stat_keys, cgroup.stat, strict=True)).get, keys)
            for cgroup in self.cgroups
        ]
        return dict(zip(keys, zip(*rows, strict=True), strict=True))

    def _parsed(self, name: str, parser: Callable[[bytes], T]) -> Sequence[T | None]:
        """A file of every cgroup; each text is parsed once, also of those in the pass before."""
        texts = self.column(name, lambda cgroup: cgroup.files.get(name))
        known = self._memo.get((name, parser), ((), {}))[1]

        def parsed(texts: Sequence[bytes | None]) -> dict[bytes | None, T | None]:
            return {
                text: known[text] if text in known else self._value(parser, text)
                for text in set(texts)
            }

        values = self.made((name, parser), parsed, texts)
        column = self.made(
            (name, parser, "column"),
            lambda texts, values: [values[text] for text in texts],
            texts,
            values,
        )
        if wrong := self.made((name, parser, "malformed"), _malformed, texts, column):
            self.malformed[name] = wrong
        return column

    def _value(self, parser: Callable[[bytes], T], text: bytes | None) -> T | None:
        try:
            return None if text is None else parser(text)
        except parse.ParseError:
            return None


def _whose(cgroup: Cgroup) -> tuple[object, ...]:
    return (
        *(cgroup.path, cgroup.container, cgroup.pod_name, cgroup.pod_namespace),
        *(cgroup.identity, cgroup.invocation),
    )


def _of_key(
    key: bytes,
) -> Callable[[Sequence[Mapping[bytes, bytes] | None]], list[bytes | None]]:
    return lambda column: [None if keyed is None else keyed.get(key) for keyed in column]


def _malformed(texts: Sequence[bytes | None], column: Sequence[object]) -> int:
    return column.count(None) - texts.count(None)


def seconds(microseconds: bytes) -> bytes:
    """Microseconds as seconds.

    >>> seconds(b"0"), seconds(b"1500000"), seconds(b"12")
    (b'0', b'1.500000', b'0.000012')
    """
    if microseconds == b"0":
        return microseconds
    whole, part = divmod(int(microseconds), 1_000_000)
    return b"%d.%06d" % (whole, part)


def integers(column: Sequence[bytes | None]) -> list[float | None]:
    """A column for arithmetic; +Inf is math.inf, everything else an int."""
    return [
        None if value is None else float("inf") if value == b"+Inf" else int(value)
        for value in column
    ]


def texts(column: Sequence[float | None]) -> list[bytes | None]:
    """The inverse of `integers`."""
    return [
        None if value is None else b"+Inf" if value == float("inf") else b"%d" % int(value)
        for value in column
    ]
