"""Stand in for nfs-subdir-external-provisioner 4.0.2 in a container, by its documented behaviour.

It is run with the bare interpreter, by what the program's manual and its manifests say: parameters
from the environment, the volume at /persistentvolumes, the token of its service account. For each
claim of a class of its own it makes the directory <namespace>-<claim>-<volume>, open to all, and
a volume that shows it; it deletes the directory of a released volume with the policy Delete, or
renames it where the class does not say archiveOnDelete: "false". It asks once in a while where
the program watches.
"""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import shutil
import ssl
import sys
import time
import typing

ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
VOLUMES = pathlib.Path("/persistentvolumes")
MADE_BY = "pv.kubernetes.io/provisioned-by"
ASKED = (
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
)
SECONDS = 0.3

Object = dict[str, typing.Any]


def main() -> None:
    """Provision and delete until the container ends."""
    for name in ("NFS_SERVER", "NFS_PATH", "PROVISIONER_NAME"):
        if not os.environ.get(name):
            sys.exit(f"{name} not set")
    if os.environ.get("ENABLE_LEADER_ELECTION") != "false":
        sys.exit("the stand-in has no election of a leader")
    provisioner = os.environ["PROVISIONER_NAME"]
    while True:
        listed = ask("GET", "/apis/storage.k8s.io/v1/storageclasses")["items"]
        classes = {c["metadata"]["name"]: c for c in listed if c["provisioner"] == provisioner}
        for claim in ask("GET", "/api/v1/persistentvolumeclaims")["items"]:
            annotations = claim["metadata"].get("annotations", {})
            name = claim["spec"].get("storageClassName", "")
            asked = provisioner in (annotations.get(key) for key in ASKED)
            if asked and name in classes and not claim["spec"].get("volumeName"):
                provision(claim, classes[name], provisioner)
        for volume in ask("GET", "/api/v1/persistentvolumes")["items"]:
            if is_due(volume, provisioner):
                delete(volume, classes)
        time.sleep(SECONDS)


def provision(claim: Object, of_class: Object, provisioner: str) -> None:
    """Make the directory and the volume of a claim."""
    metadata = claim["metadata"]
    name = f"pvc-{metadata['uid']}"
    directory = "-".join((metadata["namespace"], metadata["name"], name))
    (VOLUMES / directory).mkdir(exist_ok=True)
    (VOLUMES / directory).chmod(0o777)
    spec = {
        "persistentVolumeReclaimPolicy": of_class["reclaimPolicy"],
        "accessModes": claim["spec"]["accessModes"],
        "mountOptions": of_class.get("mountOptions"),
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "storageClassName": of_class["metadata"]["name"],
        "nfs": {
            "server": os.environ["NFS_SERVER"],
            "path": f"{os.environ['NFS_PATH']}/{directory}",
        },
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            **{key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
        },
    }
    made = {"name": name, "annotations": {MADE_BY: provisioner}}
    body = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": made, "spec": spec}
    ask("POST", "/api/v1/persistentvolumes", body)


def is_due(volume: Object, provisioner: str) -> bool:
    """Tell whether a volume is to be deleted, by the conditions of the provisioners' library."""
    metadata = volume["metadata"]
    return (
        metadata.get("annotations", {}).get(MADE_BY) == provisioner
        and volume["status"].get("phase") == "Released"
        and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        and "deletionTimestamp" not in metadata
    )


def delete(volume: Object, classes: dict[str, Object]) -> None:
    """Delete the directory of a volume, or rename it, then the volume."""
    of_class = classes.get(volume["spec"].get("storageClassName", ""))
    path = VOLUMES / pathlib.PurePath(volume["spec"]["nfs"]["path"]).name
    if path.exists():
        if of_class is None:
            return  # the program fails here, and tries again
        if of_class.get("parameters", {}).get("archiveOnDelete") == "false":
            shutil.rmtree(path)
        else:
            path.rename(path.with_name(f"archived-{path.name}"))
    ask("DELETE", f"/api/v1/persistentvolumes/{volume['metadata']['name']}")


def ask(method: str, path: str, body: Object | None = None) -> Object:
    """Return the API server's answer; an error of it ends the program, but a conflict."""
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
    token = (ACCOUNT / "token").read_text()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, headers)
    response = connection.getresponse()
    answer: Object = json.loads(response.read())
    connection.close()
    if response.status >= http.client.BAD_REQUEST and response.status not in (404, 409):
        sys.exit(f"{method} {path}: {answer.get('message')}")
    return answer


if __name__ == "__main__":
    main()
