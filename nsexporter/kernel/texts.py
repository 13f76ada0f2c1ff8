"""The texts of a cgroup's files by name, in a third of the room that a dict takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

Places = Mapping[str, int]
"""File name to where its text is, the same for all cgroups that may have the same files."""


def places(names: Iterable[str]) -> Places:
    """A place for each name."""
    return {name: place for place, name in enumerate(names)}


class Texts(Mapping[str, bytes]):
    """Of the files that have a place those that there are; `texts` has None for the others."""

    __slots__ = ("places", "texts")

    def __init__(self, places: Places, texts: list[bytes | None] | None = None) -> None:
        self.places = places
        self.texts: list[bytes | None] = [None] * len(places) if texts is None else texts

    def copy(self) -> Texts:
        """Another one with the same texts."""
        return Texts(self.places, self.texts.copy())

    def __getitem__(self, name: str) -> bytes:
        text = self.texts[self.places[name]]
        if text is None:
            raise KeyError(name)
        return text

    def __contains__(self, name: object) -> bool:
        place = self.places.get(name)  # type: ignore[call-overload]
        return place is not None and self.texts[place] is not None

    def __iter__(self) -> Iterator[str]:
        texts = self.texts
        return (name for name, place in self.places.items() if texts[place] is not None)

    def __len__(self) -> int:
        return len(self.texts) - self.texts.count(None)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Texts) and self.places is other.places:
            return self.texts == other.texts
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def get(self, name: str, default: bytes | None = None) -> bytes | None:  # type: ignore[override]
        """The text of a file, or the default where there is none."""
        place = self.places.get(name)
        text = None if place is None else self.texts[place]
        return default if text is None else text


class Table:
    """The texts of several cgroups by columns; quickly where most have the same places."""

    def __init__(self, files: Sequence[Mapping[str, bytes]]) -> None:
        self._files = files
        self._every = every = {
            id(one.places): one.places for one in files if isinstance(one, Texts)
        }
        counts = Counter([id(one.places) for one in files if isinstance(one, Texts)])
        self._places = every[max(counts, key=counts.__getitem__)] if counts else {}
        self._rows = [
            one.texts
            if isinstance(one, Texts) and one.places is self._places
            else [*map(one.get, self._places)]
            for one in files
        ]

    def names(self) -> frozenset[str]:
        """The names that have a place, or a text, in one of them."""
        others = [one for one in self._files if not isinstance(one, Texts)]
        return frozenset[str]().union(*self._every.values(), *others)

    def column(self, name: str) -> list[bytes | None]:
        """The text of a file of each, None where there is none."""
        place = self._places.get(name)
        if place is None:
            return [one.get(name) for one in self._files]
        return [row[place] for row in self._rows]
