"""Explain why a node cannot mount a volume, from the words of mount and mount.nfs; no I/O."""

from __future__ import annotations

import re

from cluster.pod_causes import Cause

ATTEMPT = "MountVolume.SetUp failed"

_WORKERS = "kubernetes-worker"
_NO_CLIENT = (
    "no NFS client; juju exec --application {workers} -- sudo apt-get install -y nfs-common"
)
_NO_NAME = "cannot resolve the file system's name yet: wait 90 s, then check DNS in the VPC"
_STILL_NO_NAME = (
    "cannot resolve the file system's name for 3 minutes: juju config {application} server=address"
)
_NO_ANSWER = "gets no answer on port 2049: check the VPC's network ACLs and routes"
_NO_MODULE = "has no NFS in its kernel: juju exec --application {workers} -- sudo modprobe nfs"
_OPTIONS = "refuses mount-options: juju config {application} --reset mount-options"
_NO_FILES = "its program was deleted from the cluster: run the action again"
_DENIED = "is denied access: check the file system's policy, which may demand TLS or IAM"

_UNRESOLVED = "Failed to resolve server"
# Messages of mount and mount.nfs, in the order in which to look for them: a part of theirs, ours,
# and whether the user has to act.
_FAILURES = (
    ('configmap "files-', _NO_FILES, True),
    ("unknown filesystem type", _NO_CLIENT, True),
    ("need a /sbin/mount.", _NO_CLIENT, True),
    ("wrong fs type", _NO_CLIENT, True),
    # util-linux from 2.40 on: the kernel's words to a mount without the helper.
    ("mount program didn't pass remote address", _NO_CLIENT, True),
    ("No such device", _NO_MODULE, True),
    (_UNRESOLVED, _NO_NAME, False),
    ("incorrect mount option", _OPTIONS, True),
    ("Invalid argument", _OPTIONS, True),
    # As of nfsvers=3 or proto=udp, which EFS does not serve.
    ("rotocol not supported", _OPTIONS, True),
    ("transport protocol is not supported", _OPTIONS, True),
    ("rpc.statd is not running", _OPTIONS, True),
    ("access denied", _DENIED, True),
    ("Connection refused", _NO_ANSWER, True),
    ("timed out", _NO_ANSWER, True),
    ("No route to host", _NO_ANSWER, True),
    ("Network is unreachable", _NO_ANSWER, True),
    ("Connection reset by peer", _NO_ANSWER, True),
)
_PREAMBLE = re.compile(r'^MountVolume\.SetUp failed for volume "[^"]*" : (mount failed: )?')
# DNS takes 90 s to know a new mount target.
_DNS_SECONDS = 180
_AFTERWORDS = "dmesg(1) may have more information"


def no_client(workers: str = "") -> str:
    """Return what is said of a node without NFS client.

    Args:
        workers: The Juju application of its machine, if known.
    """
    return _NO_CLIENT.format(workers=workers or _WORKERS)


def explain(
    message: str, node: str, application: str, *, stamp: str, failing_seconds: float
) -> Cause:
    """Return the cause that keeps a node from mounting a volume.

    Args:
        message: The message of the kubelet's event.
        node: The node.
        application: Our application, for the commands.
        stamp: The identity of the occurrence.
        failing_seconds: The time for which the node has tried.
    """
    if _UNRESOLVED in message and failing_seconds >= _DNS_SECONDS:
        late = _STILL_NO_NAME.format(application=application)
        return Cause(f"{node}: {late}", blocked=True, stamp=stamp, about_node=late)
    for theirs, ours, blocked in _FAILURES:
        if theirs in message:
            text = ours.format(application=application, workers=_WORKERS)
            return Cause(f"{node}: {text}", blocked, stamp, about_node=text)
    output = _PREAMBLE.sub("", message.rpartition("Output:")[2])
    output = " ".join(output.partition(_AFTERWORDS)[0].split()).rstrip(" :")
    other = f"cannot mount: {output}"
    return Cause(f"{node}: {other}", blocked=False, stamp=stamp, about_node=other)
