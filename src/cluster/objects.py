"""Read fields that lightkube leaves untyped or optional; refer to objects, and name them."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import re
from typing import Any, cast

from lightkube.models import meta_v1

_SPECIFIED = {"PersistentVolume", "PersistentVolumeClaim", "Pod"}
_IN_NAMESPACES = {"PersistentVolumeClaim", "Pod"}
_QUANTITY = re.compile(
    r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][0-9]{1,2}|[A-Za-z]{0,2})"
)
_KIND_TITLES = {
    "ClusterRole": "cluster role",
    "ClusterRoleBinding": "cluster role binding",
    "ConfigMap": "config map",
    "Deployment": "deployment",
    "Job": "job",
    "Namespace": "namespace",
    "PersistentVolume": "volume",
    "PodStatus": "status of pod",
    "PersistentVolumeClaim": "claim",
    "PersistentVolumeClaimStatus": "status of claim",
    "Secret": "secret",
    "ServiceAccount": "service account",
    "StorageClass": "storage class",
}


@dataclasses.dataclass(frozen=True)
class Reference:
    """An object at the time of an observation.

    A write that carries it is refused if the object was changed, or replaced by another one of its
    name, since then.

    Attributes:
        kind: Its kind.
        name: Its name.
        namespace: Its namespace; "" for kinds that have none.
        uid: Its uid.
        version: Its resource version.
    """

    kind: type[Any]
    name: str
    namespace: str
    uid: str
    version: str

    @property
    def title(self) -> str:
        """Return its name in our messages."""
        return title(self.kind, self.name, self.namespace)


def reference(resource: Any) -> Reference:
    """Return the reference to an object.

    Args:
        resource: The object.
    """
    metadata = meta(resource)
    return Reference(
        kind=cast("type[Any]", type(resource)),
        name=metadata.name or "",
        namespace=metadata.namespace or "",
        uid=metadata.uid or "",
        version=metadata.resourceVersion or "",
    )


def title(kind: type[Any], name: str, namespace: str = "") -> str:
    """Return an object's name in our messages, as in "claim default/aws-efs".

    Args:
        kind: Its kind.
        name: Its name.
        namespace: Its namespace, "" for kinds that have none.
    """
    kind_title = _KIND_TITLES.get(kind.__name__, kind.__name__)
    return f"{kind_title} {namespace}/{name}" if namespace else f"{kind_title} {name}"


def check(resource: Any) -> None:
    """Refuse an object whose untyped fields are not what Kubernetes lets them be.

    An API server checks them, so the answer is garbled, or not that of an API server.

    Args:
        resource: Any object.

    Raises:
        ValueError: It is none.
    """
    spec, status = getattr(resource, "spec", None), getattr(resource, "status", None)
    kind, metadata = type(resource).__name__, cast("Any", meta(resource))
    if not metadata.name or (kind in _SPECIFIED and spec is None):
        raise ValueError("no name, or no specification")
    if kind in _IN_NAMESPACES and not metadata.namespace:
        raise ValueError("no namespace")
    texts = (metadata.labels, metadata.annotations, getattr(resource, "data", None))
    for each in filter(None, texts):
        if not all(isinstance(value, str) for value in each.values()):
            raise ValueError("a value that is no text")
    requested = getattr(getattr(spec, "resources", None), "requests", None)
    for each in (requested, getattr(spec, "capacity", None), getattr(status, "capacity", None)):
        if (size := storage(each)) and not _QUANTITY.fullmatch(size):
            raise ValueError("no quantity")


def meta(resource: Any) -> meta_v1.ObjectMeta:
    """Return an object's metadata; an API server always sends some.

    Args:
        resource: Any object.
    """
    return resource.metadata or meta_v1.ObjectMeta()


def name(resource: Any) -> str:
    """Return an object's name.

    Args:
        resource: Any object.
    """
    return meta(resource).name or ""


def seconds(when: datetime.datetime | None) -> float:
    """Return a time in seconds since 1970; 0 for none, and for those before.

    Args:
        when: The time; Kubernetes writes it in UTC.
    """
    if when is None:
        return 0
    return max(
        0.0, (when if when.tzinfo else when.replace(tzinfo=datetime.timezone.utc)).timestamp()
    )


def event_time(event: Any) -> str:
    """Return the time when an event happened last, as text that sorts by time.

    Args:
        event: The event.
    """
    return str(event.lastTimestamp or event.eventTime or meta(event).creationTimestamp)


def labels_of(resource: Any) -> dict[str, str]:
    """Return an object's labels.

    Args:
        resource: Any object.
    """
    labels: dict[str, str] | None = resource.metadata and resource.metadata.labels
    return labels or {}


def annotations_of(resource: Any) -> dict[str, str]:
    """Return an object's annotations.

    Args:
        resource: Any object.
    """
    annotations: dict[str, str] | None = resource.metadata and resource.metadata.annotations
    return annotations or {}


def job_uid(pod: Any) -> str:
    """Return the uid of the Job that controls a pod; "" where none does, or one of another group.

    Args:
        pod: The pod.
    """
    return _controller_uid(pod, "Job", "batch/")


def replica_set_uid(pod: Any) -> str:
    """Return the uid of the replica set that controls a pod; "" where none does.

    Args:
        pod: The pod.
    """
    return _controller_uid(pod, "ReplicaSet", "apps/")


def _controller_uid(pod: Any, kind: str, group: str) -> str:
    owners = meta(pod).ownerReferences or []
    found = (
        each.uid
        for each in owners
        if each.controller and each.kind == kind and each.apiVersion.startswith(group)
    )
    return next(found, "")


def storage(quantities: Any) -> str:
    """Return the storage in a capacity or a request; "" where there is none.

    Args:
        quantities: The dictionary, or None.
    """
    quantity: dict[str, str] = quantities or {}
    return quantity.get("storage", "")


def make_name(*parts: str, limit: int = 63) -> str:
    """Return a name made of parts; one that is too long is cut and ends in a hash of the whole.

    Args:
        parts: The parts, the most important first.
        limit: The greatest length; 63 is that of a label's value.
    """
    whole = "-".join(parts)
    if len(whole) <= limit:
        return whole
    return f"{whole[: limit - 9].rstrip('-.')}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
