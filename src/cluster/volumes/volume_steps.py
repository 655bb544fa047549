"""The steps that change volumes and claims; no client."""

from __future__ import annotations

import dataclasses

NAMESPACE = "Namespace"
STORAGE_CLASS = "StorageClass"
VOLUME = "PersistentVolume"
CLAIM = "PersistentVolumeClaim"
# The policy of our volumes, and the patch that sets it.
RETAIN = "Retain"
RETAIN_PATCH = {"spec": {"persistentVolumeReclaimPolicy": RETAIN}}


@dataclasses.dataclass(frozen=True)
class Step:
    """One change, safe to repeat.

    Attributes:
        group: The group of the claim that needs it, which is its namespace, for a read-only one
            with a suffix: a refusal ends only that group's steps. "" for steps that all need.
    """

    group: str

    @property
    def namespace(self) -> str:
        """Return the namespace of the claim that needs it."""
        return self.group.partition(".")[0]


@dataclasses.dataclass(frozen=True)
class Check(Step):
    """Ask whether the namespace accepts the claim (quota, policies) before a volume is made."""


@dataclasses.dataclass(frozen=True)
class Apply(Step):
    """Create or change the group's object of this kind."""

    kind: str


@dataclasses.dataclass(frozen=True)
class SetCapacity(Step):
    """Set the capacity in the claim's status, as a resizer does."""

    claim: str
    capacity: str


@dataclasses.dataclass(frozen=True)
class Rebind(Step):
    """Bind a volume that was bound to a former claim to the present one."""

    volume: str
    uid: str


@dataclasses.dataclass(frozen=True)
class Retain(Step):
    """Have Kubernetes keep the data of a volume whose claim is about to be deleted.

    With a policy that somebody has changed to Recycle, it would delete all files of the volume.
    """

    volume: str


@dataclasses.dataclass(frozen=True)
class ClearJobs(Step):
    """Remove our Jobs and stop the provisioner: their pods keep the claim in use.

    Attributes:
        ended_only: Whether those that have not ended stay.
    """

    ended_only: bool = False


@dataclasses.dataclass(frozen=True)
class Delete(Step):
    """Delete an object of ours."""

    kind: str
    name: str
