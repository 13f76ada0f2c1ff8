"""What a source of metadata is, and what it tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from nsexporter.containers.state import Stamp
from nsexporter.model import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a runtime's state says of one container; empty or None where it says nothing."""

    runtime: str = ""
    name: str = ""
    image: str = ""  # name with tag or digest
    image_id: str = ""
    created: float | None = None  # seconds since the epoch
    restarts: int | None = None
    sandbox: bool = False  # a pod's own container, which only holds its namespaces
    pod_name: str = ""
    pod_namespace: str = ""
    pod_uid: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Stamp] = field(default_factory=dict)  # that said so: changed, ask again
    problem: OSError | ValueError | None = None  # what kept the source from telling the rest


class Source(Protocol):
    """One place where a runtime tells of its containers."""

    @property
    def name(self) -> str:
        """As in metadata.sources and in the label `source`."""

    @property
    def runtimes(self) -> frozenset[str]:
        """The runtimes, as `Identity` names them, whose containers may be there."""

    def lookup(self, identity: Identity) -> Metadata | None:
        """What is said of a container, None where it is not known here.

        OSError where the source is there but cannot be read or does not answer, ValueError where
        what it says makes no sense.
        """
