"""The names of volumes and claims; no client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cluster import objects

if TYPE_CHECKING:
    import identity

# Names of namespaces have no dots.
_VIEW = ".datasets"


def group(namespace: str, *, view: bool) -> str:
    """Return what the steps and problems of a claim are grouped by.

    Args:
        namespace: The claim's namespace.
        view: Whether it is the read-only claim with the data sets.
    """
    return namespace + _VIEW if view else namespace


def view_claim_name(claim: str) -> str:
    """Return the name of the read-only claim with the data sets.

    Args:
        claim: The name of the other claim of its namespace.
    """
    return f"{claim}-datasets"


def own_claim_name(owner: identity.Owner) -> str:
    """Return the name of our Jobs' claim, which is in the namespace of the same name.

    Args:
        owner: The application.
    """
    return owner.application


def volume_name(owner: identity.Owner, namespace: str, *, view: bool = False) -> str:
    """Return the name of a namespace's volume; it differs between models that share a cluster.

    Args:
        owner: The application.
        namespace: The namespace.
        view: Whether it is the read-only volume with the data sets.
    """
    return f"{owner.application}-{owner.short_model}-{group(namespace, view=view)}"


def volume_namespace(owner: identity.Owner, name: str) -> str:
    """Return the namespace that a volume of ours was made for; "" for a name that we never give.

    Args:
        owner: The application.
        name: The volume's name.
    """
    prefix = volume_name(owner, "")
    return name.removeprefix(prefix).removesuffix(_VIEW) if name.startswith(prefix) else ""


def is_view(name: str) -> bool:
    """Return whether a volume of ours is the read-only one with the data sets.

    Args:
        name: The volume's name.
    """
    return name.endswith(_VIEW)


def provisioner_name(owner: identity.Owner) -> str:
    """Return the name of the provisioner in the classes and volumes of dynamic claims.

    Args:
        owner: The application.
    """
    return f"aws-efs/{objects.make_name(owner.application, owner.model_uuid)}"


def is_server_of(file_system_id: str, server: str) -> bool:
    """Return whether the host name of an NFS server, as we write it, is that of a file system.

    Args:
        file_system_id: The file system.
        server: The host name.
    """
    return server.partition(".")[0] == file_system_id
