"""Delete all our objects in the cluster, in the order that Kubernetes requires."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightkube.resources import core_v1, storage_v1

import polling
import problems
from cluster import digest_key, look_alikes, namespace_contents, objects, records
from cluster.dynamic import provisioner_removal
from cluster.jobs import job_observe
from cluster.volumes import volume_observe, volume_resources, volume_steps

if TYPE_CHECKING:
    from cluster import client

# Of the objects that stay in our namespace, and of the copies elsewhere, the most that are named.
_MOST_NAMED = 50
# Finalizers of Kubernetes' own end by themselves.
_BUILT_IN = "kubernetes.io"
# The conditions of a namespace that tell what keeps it.
_KEPT = {"NamespaceContentRemaining", "NamespaceFinalizersRemaining"}


def remove(
    cluster: client.Cluster,
    *,
    report: Callable[[str], None],
    timeout_seconds: float,
    dry_run: bool = False,
) -> list[str]:
    """Delete all our objects in the cluster: Jobs, claims, volumes, class, namespace.

    It can be run again at any point. No claim is touched while a pod uses it. Objects of others
    stay, and our namespace stays with those that are in it.

    Args:
        cluster: The cluster.
        report: Gets a line for each object that is deleted, or that stays.
        timeout_seconds: The longest time to wait for pods that use claims, and for deletions.
        dry_run: Only report what would be deleted.

    Returns:
        The reported lines.

    Raises:
        problems.Waiting: Pods still use claims, or an object is still being deleted: it is named.
    """
    removal = _Removal(cluster, report, time.monotonic() + timeout_seconds, dry_run=dry_run)
    removal.run()
    return removal.lines


def await_users(
    cluster: client.Cluster, timeout_seconds: float, report: Callable[[str], None]
) -> None:
    """Wait until no pod uses a claim of ours, except the pods of our Jobs; change nothing.

    Args:
        cluster: The cluster.
        report: Gets a line when the waiting begins, and whenever other pods are waited for.
        timeout_seconds: The longest time to wait.

    Raises:
        problems.Waiting: Pods still use claims: they are named.
    """
    observed = volume_observe.observe(cluster, [cluster.namespace])
    deadline = time.monotonic() + timeout_seconds
    _wait_for_pods(cluster, observed, deadline, report, others_only=True)


class _Removal:
    """A removal of all our objects.

    Args:
        cluster: The cluster.
        report: Gets each line.
        deadline: The time at which the waiting ends.
        dry_run: Whether nothing is deleted.
    """

    def __init__(
        self,
        cluster: client.Cluster,
        report: Callable[[str], None],
        deadline: float,
        *,
        dry_run: bool,
    ) -> None:
        self._cluster = cluster
        self._report = report
        self._deadline = deadline
        self._dry_run = dry_run
        self._removed: set[str] = set()
        self.lines: list[str] = []

    def run(self) -> None:
        """Delete everything that is ours, and report what stays."""
        cluster = self._cluster
        # First of all, since it makes volumes, and its pod uses our claim.
        for each in provisioner_removal.standing(cluster):
            self._delete(each, each.title)
        if not self._dry_run:
            provisioner_removal.await_end(cluster, self._deadline - time.monotonic())
        observed = volume_observe.observe(cluster, [cluster.namespace])
        namespace = observed.namespaces.get(cluster.namespace)
        in_our_namespace = namespace is not None and namespace.ours
        for job in job_observe.list_own(cluster) if in_our_namespace else []:
            going = objects.meta(job).deletionTimestamp is not None
            self._delete(objects.reference(job), "" if going else f"job {objects.name(job)}")
        if not self._dry_run:
            _wait_for_pods(cluster, observed, self._deadline, self._report)
            self._retain(observed)
        self._delete_all(observed, core_v1.PersistentVolumeClaim)
        # Kubernetes looks again only after 8 s at a deleted namespace in which it found a claim.
        self._wait_until_gone()
        self._delete_all(observed, core_v1.PersistentVolume)
        self._delete_all(observed, storage_v1.StorageClass)
        if in_our_namespace:
            self._delete_namespace(observed)
        elif namespace is not None:
            self._tell(f"namespace {namespace.name}, which is not ours")
        self._wait_until_gone()
        copies = look_alikes.find(cluster, self._removed)
        self._tell_some(
            [f"{title}, which only has our labels" for title in copies],
            "{} more objects that only have our labels",
        )

    def _retain(self, observed: volume_resources.ObservedVolumes) -> None:
        """Keep the data: with a policy that somebody changed to Recycle, Kubernetes deletes it."""
        for volume in observed.volumes:
            if volume.policy != volume_steps.RETAIN:
                key = volume_steps.VOLUME, "", volume.name
                self._cluster.patch(observed.references[key], volume_steps.RETAIN_PATCH)

    def _delete_all(self, observed: volume_resources.ObservedVolumes, kind: type[Any]) -> None:
        going = {(claim.namespace, claim.name) for claim in observed.claims if claim.deleting}
        going |= {("", volume.name) for volume in observed.volumes if volume.deleting}
        for each in observed.references.values():
            if each.kind is kind:
                self._delete(each, "" if (each.namespace, each.name) in going else each.title)

    def _delete_namespace(self, observed: volume_resources.ObservedVolumes) -> None:
        """Delete our namespace; if it has objects of others, delete only ours in it."""
        cluster, name = self._cluster, self._cluster.namespace
        target = observed.references[core_v1.Namespace.__name__, "", name]
        if observed.namespaces[name].terminating:
            self._delete(target, "")
            return
        found = [*records.list_own(cluster), *digest_key.list_own(cluster)]
        foreign = namespace_contents.find_foreign(
            namespace_contents.observe(cluster, name),
            self._removed | {record.uid for record in found},
        )
        if not foreign:
            self._delete(target, target.title)
            return
        for record in found:
            self._delete(record, record.title)
        self._tell_some(
            [f"{title} in namespace {name}" for title in foreign],
            f"{{}} more objects in namespace {name}",
        )
        self._tell(
            f"namespace {name}, since not all in it is ours: kubectl delete namespace {name}"
        )

    def _delete(self, target: objects.Reference, title: str) -> None:
        """Delete an object; without a title it is being deleted already."""
        self._removed.add(target.uid)
        if not title:
            return
        if not self._dry_run:
            self._cluster.remove(target)
        self._add(f"{'would delete' if self._dry_run else 'deleted'} {title}")

    def _tell(self, what: str) -> None:
        self._add(f"stays in the cluster: {what}")

    def _tell_some(self, lines: Sequence[str], rest: str) -> None:
        for line in problems.list_some(lines, _MOST_NAMED, rest):
            self._tell(line)

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._report(line)

    def _wait_until_gone(self) -> None:
        """Wait until nothing is observed that was deleted."""
        if self._dry_run:
            return

        def remaining() -> list[objects.Reference]:
            observed = volume_observe.observe(self._cluster, [self._cluster.namespace])
            left = observed.references.values()
            return [each for each in left if each.uid in self._removed]

        left = polling.poll(remaining, lambda each: not each, self._deadline - time.monotonic())
        if left:
            found = self._cluster.find(left[0].kind, left[0].name, left[0].namespace)
            raise problems.Waiting(explain_stay(left[0].title, found))


def explain_stay(title: str, found: Any) -> str:
    """Return what keeps an object that was deleted, and what to do; no I/O.

    Args:
        title: Its name in our messages.
        found: The object; None where it is gone by now.
    """
    if isinstance(found, core_v1.PersistentVolume) and (claim := _bound_claim(found)):
        return f"{title} is bound to claim {claim}: delete that claim, then run it again"
    # Some kinds have no status, or none with conditions.
    conditions: list[Any] = getattr(getattr(found, "status", None), "conditions", None) or []
    kept = [
        each.message or each.reason or each.type
        for each in conditions
        if each.type in _KEPT and each.status == "True"
    ]
    held = [
        each
        for each in ((found and objects.meta(found).finalizers) or [])
        if not each.partition("/")[0].endswith(_BUILT_IN)
    ]
    if held:
        return f"{title} keeps finalizer {', '.join(held)}: remove it there, then run it again"
    if kept:
        return f"{title} is still being deleted: {' '.join(kept)}: run it again"
    return f"{title} is still being deleted: run it again"


def _bound_claim(volume: core_v1.PersistentVolume) -> str:
    """Return the claim that keeps a volume: ours are gone before; "" where none does."""
    claim = volume.spec and volume.spec.claimRef
    bound = volume.status is not None and volume.status.phase == "Bound"
    return f"{claim.namespace}/{claim.name}" if claim and bound else ""


def _wait_for_pods(
    cluster: client.Cluster,
    observed: volume_resources.ObservedVolumes,
    deadline: float,
    report: Callable[[str], None],
    *,
    others_only: bool = False,
) -> None:
    """Wait until no pod uses a claim of ours, and report for which pods."""
    told: list[str] = []
    claims = {(claim.namespace, claim.name) for claim in observed.own_claims}
    if not claims:
        return

    def users() -> list[str]:
        found = [
            f"{pod.namespace}/{pod.name}"
            for pod in volume_observe.list_claim_users(cluster)
            if any((pod.namespace, claim) in claims for claim in pod.claims)
            and not (others_only and pod.ours)
        ]
        if found and found != told:
            report(f"waiting until these pods are gone: {volume_resources.format_pods(found)}")
            told[:] = found
        return found

    left = polling.poll(users, lambda pods: not pods, deadline - time.monotonic())
    if left:
        named = volume_resources.format_pods(left)
        raise problems.Waiting(f"claims are in use: delete {named}, then run it again")
