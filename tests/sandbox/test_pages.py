"""What the page about uploads shows does what it says, with the charm's claims."""

from __future__ import annotations

import pathlib
import re
import stat
import time
from typing import Any

import lightkube
import tenacity
import yaml
from lightkube.models import meta_v1
from lightkube.resources import core_v1

from sandbox.stage import Stage

PAGE = (pathlib.Path(__file__).parents[2] / "docs/how-to/upload.md").read_text()
MANIFEST, _, READER = (
    yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
)
NAMESPACE = "research"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@tenacity.retry(
    wait=tenacity.wait_fixed(0.1),
    stop=tenacity.stop_after_delay(10),
    # A new namespace does not have a service account at once.
    retry=tenacity.retry_if_exception_type(lightkube.ApiError),
    reraise=True,
)
def start(stage: Stage, name: str, script: str, **container: Any) -> None:
    """Start the page's pod with a script that ends."""
    manifest = yaml.safe_load(yaml.safe_dump(MANIFEST))
    manifest["metadata"] = {"name": name, "namespace": NAMESPACE}
    manifest["spec"] |= {"restartPolicy": "Never", "automountServiceAccountToken": False}
    manifest["spec"]["containers"][0] |= {"command": ["sh", "-c", script], **container}
    stage.kube.create(core_v1.Pod.from_dict(manifest))


def output(stage: Stage, name: str) -> str:
    """Return what a pod printed until it succeeded."""
    for _ in range(200):
        status = stage.kube.get(core_v1.Pod, name, namespace=NAMESPACE).status
        if status and status.phase in {"Succeeded", "Failed"}:
            printed = "".join(stage.kube.log(name, namespace=NAMESPACE))
            assert status.phase == "Succeeded", printed
            return printed
        time.sleep(0.1)
    raise AssertionError(f"{name} does not end")


def test_files_are_uploaded_to_an_inbox_and_read_from_it_where_pods_are_restricted(
    stage: Stage,
) -> None:
    metadata = meta_v1.ObjectMeta(name=NAMESPACE, labels=RESTRICTED)
    stage.kube.create(core_v1.Namespace(metadata=metadata))
    stage.settle(config={"namespaces": NAMESPACE})
    (make,) = re.findall(r"kubectl exec upload -- (mkdir .*)", PAGE)
    write = "mkdir /volume/inbox/photos && echo red > /volume/inbox/photos/rose"
    start(stage, "upload", f"{make} && {write}")
    output(stage, "upload")

    inbox = stage.volume() / "inbox"
    assert stat.S_IMODE(inbox.stat().st_mode) == 0o1777
    user = MANIFEST["spec"]["securityContext"]["runAsUser"]
    assert (inbox / "photos/rose").stat().st_uid == user
    start(stage, "reader", "cat /data/rose; touch /data/x 2>/dev/null || echo refused", **READER)
    assert output(stage, "reader").splitlines() == ["red", "refused"]
