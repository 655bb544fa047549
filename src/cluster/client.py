"""Write objects of ours in the user's cluster: each write is bound to an observation."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import lightkube.core.exceptions
import lightkube.types
from lightkube.resources import core_v1

import polling
import problems
from cluster import connection, errors, objects, ownership

if TYPE_CHECKING:
    import identity

logger = logging.getLogger(__name__)

# The attempts of a write that others precede.
_MOST_ATTEMPTS = 8

_Kind = TypeVar("_Kind", bound=connection.Resource)
_Result = TypeVar("_Result")


class Cluster(connection.Connection):
    """A connection to the Kubernetes cluster for one application: it writes only what is ours.

    Args:
        access: Endpoint, CA and token.
        owner: The application whose objects we make and may change.
        patience: The time for late answers; None for one of its own.
    """

    def __init__(
        self,
        access: identity.ClusterAccess,
        owner: identity.Owner,
        patience: polling.Patience | None = None,
    ) -> None:
        super().__init__(access, patience or polling.Patience())
        self.owner = owner
        self.labels = ownership.labels(owner)
        self._namespace_is_ours = False

    def __enter__(self) -> Cluster:
        return self

    # --- our namespace

    @property
    def namespace(self) -> str:
        """Return the name of the charm's own namespace, in which its Jobs run."""
        return self.owner.application

    def check_namespace(self) -> bool:
        """Look at our namespace; return whether it exists.

        Raises:
            problems.Blocked: It belongs to somebody else: another model, or nobody that we know.
        """
        self._namespace_is_ours = False
        found = self.find(core_v1.Namespace, self.namespace)
        if found is None:
            return False
        if not ownership.is_marked(self.owner, found):
            raise ownership.namespace_conflict(self.owner, objects.labels_of(found))
        self._namespace_is_ours = True
        return True

    def own(self, kind: type[_Kind], selector: Mapping[str, Any] | None = None) -> list[_Kind]:
        """Return the objects in our namespace that carry our marks; none where it does not exist.

        Args:
            kind: Their kind.
            selector: Further labels.
        """
        if not (self._namespace_is_ours or self.check_namespace()):
            return []
        marked = {**ownership.mark(self.owner), **(selector or {})}
        return self.select(kind, marked, namespace=self.namespace)

    def find_own(self, kind: type[_Kind], name: str) -> _Kind | None:
        """Return the object of that name in our namespace; None where there is none of ours.

        Args:
            kind: Its kind.
            name: Its name.
        """
        if not (self._namespace_is_ours or self.check_namespace()):
            return None
        found = self.find(kind, name, self.namespace)
        return found if found is not None and self.owns(found) else None

    def log(self, pod: str, container: str, *, tail_lines: int) -> str:
        """Return the last lines of the log of a pod of ours.

        Args:
            pod: Its name.
            container: The container's name.
            tail_lines: The number of lines.

        Returns:
            "" where there is no log: the pod is gone, or has not started.
        """
        with errors.translated(f"read the log of pod {pod}"):
            try:
                lines = self._api.log(
                    pod, namespace=self.namespace, container=container, tail_lines=tail_lines
                )
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) not in {errors.NOT_FOUND, errors.BAD_REQUEST}:
                    raise
                return ""
            return "".join(lines)

    def owns(self, resource: Any) -> bool:
        """Return whether an object is ours, as `ownership.owns` decides.

        Args:
            resource: The object.
        """
        return ownership.owns(self.owner, resource)

    # --- writing

    def apply(
        self, resource: _Kind, *, over: objects.Reference | None = None, dry_run: bool = False
    ) -> _Kind:
        """Create or change an object by server-side apply.

        Args:
            resource: The desired object.
            over: The object as it was observed, and found to be ours: fields that others edited
                are reset. None where none was observed: then the name is looked up first, and an
                object of others is left alone.
            dry_run: Only ask whether the API server would accept it.

        Returns:
            The object as the API server has it now.

        Raises:
            problems.Blocked: An object of that name exists and is not ours.
            errors.ConflictError: It was changed since it was observed.
        """
        desired = objects.reference(resource)
        self._check_writable(desired.namespace)
        over = over or self._look_up(desired)
        sent: Any = copy.copy(resource)
        if over:
            sent.metadata = copy.copy(objects.meta(resource))
            sent.metadata.uid, sent.metadata.resourceVersion = over.uid, over.version
        with errors.translated(desired.title):
            applied: _Kind = self._api.apply(sent, force=over is not None, dry_run=dry_run)
        if not dry_run:
            logger.info("applied %s", desired.title)
        return applied

    def patch(
        self,
        target: objects.Reference,
        body: Mapping[str, Any],
        patch_type: lightkube.types.PatchType = lightkube.types.PatchType.MERGE,
    ) -> Any:
        """Change single fields of an object of ours, as it was observed.

        Args:
            target: The object; its kind may be a subresource's.
            body: The patch.
            patch_type: A merge patch, or a strategic one, which adds to lists.

        Returns:
            The object as the API server has it now.

        Raises:
            errors.ConflictError: It was changed since it was observed.
        """
        self._check_writable(target.namespace)
        condition = {"uid": target.uid, "resourceVersion": target.version}
        conditional = {**body, "metadata": {**body.get("metadata", {}), **condition}}
        with errors.translated(target.title):
            patched = self._api.patch(
                target.kind,
                target.name,
                conditional,
                namespace=target.namespace or None,
                patch_type=patch_type,
            )
        logger.info("patched %s", target.title)
        return patched

    def delete(self, target: objects.Reference) -> None:
        """Delete an object of ours as it was observed; in the background also what it owns.

        Args:
            target: The object.

        Raises:
            errors.ConflictError: It was changed since it was observed.
        """
        self._check_writable(target.namespace)
        with errors.translated(f"delete {target.title}"):
            try:
                self._delete(target)
            except lightkube.core.exceptions.ApiError as error:
                if errors.http_status(error) != errors.NOT_FOUND:
                    raise
                return
        logger.info("deleted %s", target.title)

    def remove(self, target: objects.Reference) -> None:
        """Delete an object that was found to be ours, whatever has changed in it since then.

        Another object of its name is left alone.

        Args:
            target: The object.
        """

        def delete() -> None:
            found = self.find(target.kind, target.name, target.namespace)
            if found is not None and objects.meta(found).uid == target.uid:
                self.delete(objects.reference(found))

        repeat(delete)

    def _check_writable(self, namespace: str) -> None:
        """Look at our namespace before each write in it, since it may be another one meanwhile."""
        if namespace == self.namespace and not self.check_namespace():
            raise problems.Waiting(f"namespace {namespace} does not exist yet: see juju status")

    def _look_up(self, desired: objects.Reference) -> objects.Reference | None:
        """Return the object of ours that has a desired one's name; None where there is none.

        Raises:
            problems.Blocked: The object is not ours.
        """
        existing = self.find(desired.kind, desired.name, desired.namespace)
        if existing is None:
            return None
        # A claim that is ours was observed.
        if desired.kind is core_v1.PersistentVolumeClaim or not self.owns(existing):
            hint = _ANOTHER_NAME.get(desired.kind.__name__, _ANOTHER_APPLICATION)
            if desired.namespace == self.namespace:
                hint = "delete it"
            raise problems.Blocked(
                f"{desired.title} exists and is not ours: "
                + hint.format(application=self.owner.application)
            )
        return objects.reference(existing)


def repeat(write: Callable[[], _Result]) -> _Result:
    """Look at an object and write it; again where somebody else wrote it in between.

    Args:
        write: The look and the write.

    Raises:
        errors.ConflictError: Others keep writing it.
    """
    return polling.retry(write, errors.ConflictError, _MOST_ATTEMPTS)


_ANOTHER_APPLICATION = "deploy the charm under another name than {application}"
_ANOTHER_NAME = {
    "PersistentVolumeClaim": "juju config {application} claim-name=…",
    "StorageClass": "juju config {application} storage-class=…",
}
