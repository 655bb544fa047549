"""Tell why Kubernetes refuses to create or to place a pod, with the fix first; no I/O."""

from __future__ import annotations

import re

# Before the refusal itself, in the words of the Job controller and the API server.
_PREAMBLE = re.compile(
    r'Error creating: |(pods|jobs\.batch) "[^"]*" is forbidden: |Internal error occurred: '
)
_QUOTA = re.compile(r"exceeded quota: (?P<name>[^,]+), (?P<numbers>.*)")
_UNSET = re.compile(r"failed quota: (?P<name>\S+): must specify (?P<numbers>.*)")
_POLICY = re.compile(
    r"(?:ValidatingAdmissionPolicy|policy) '(?P<name>[^']+)' (with binding '[^']+' )?"
    r"denied request: ?(?P<words>.*)"
)
_WEBHOOK = re.compile(r'admission webhook "(?P<name>[^"]+)" denied the request:? ?(?P<words>.*)')
_NODES = re.compile(r"\d+/\d+ nodes are available: ?")
# What the scheduler adds after the reasons.
_AFTERWORDS = (" preemption:", " no new claims to deallocate")

_CAPACITY = "no node has room for the pod: add a worker, or free some"
_TAINTED = "taints keep the pod off all nodes: juju config {application} tolerations=…"
_SELECTED = (
    "no node has the labels that the pod asks for: juju config {application} node-selector=…"
)
_UNFIT = (
    "taints or labels keep the pod off all nodes: juju config {application} tolerations=… or "
    "node-selector=…"
)
_CORDONED = "the nodes are cordoned: kubectl uncordon …"
# The scheduler names no taints from Kubernetes 1.34 on: they may be those of nodes that are down.
_UNNAMED = (
    "taints keep the pod off all nodes: juju config {application} tolerations=…, or see kubectl "
    "get nodes"
)
_UNREADY = "the nodes are not ready: kubectl get nodes"
_UNPLACED = "no node takes the pod"
# Words of the scheduler, in the order in which to look for them: a pattern, our message.
_PLACEMENTS = (
    ("Insufficient|Too many pods|no nodes available", _CAPACITY),
    (r"(?=.* taint).*node affinity/selector", _UNFIT),
    (r" taint\S* \{(?!node\.kubernetes\.io/)", _TAINTED),
    ("node affinity/selector", _SELECTED),
    (r" taint\S* \{", _UNREADY),
    (" taint", _UNNAMED),
    ("were unschedulable", _CORDONED),
    ("", _UNPLACED),
)


def explain(message: str, application: str) -> tuple[str, bool]:
    """Return why a pod is not created, with the fix; and whether the user has to act.

    The words of the policy, webhook or quota are whole, at the end.

    Args:
        message: The message of the Job controller's event.
        application: Our application, which is also the name of its namespace.
    """
    said = " ".join(message.split())
    while match := _PREAMBLE.match(said):
        said = said[match.end() :]
    # A new namespace has no service account for a moment; that is "forbidden", too.
    forbidden = "forbidden" in message and "service account" not in message
    metadata = f"juju config {application} pod-labels=… or pod-annotations=…"
    if match := _QUOTA.search(said):
        name, numbers = match["name"], match["numbers"]
        return f"quota {name} is exceeded: raise it in namespace {application} ({numbers})", True
    if match := _UNSET.search(said):
        fix = f"set a default by a LimitRange in namespace {application}"
        return (
            f"quota {match['name']} asks for what pods leave out: {fix} ({match['numbers']})",
            True,
        )
    if match := _POLICY.search(said) or _WEBHOOK.search(said):
        words = match["words"] or "it gives no reason"
        return f"policy {match['name']} refuses the pods: {metadata} ({words})", True
    if "per Container is" in said or "per Pod is" in said or "limit to request ratio" in said:
        return (
            f"a LimitRange refuses the pods: change it in namespace {application} ({said})",
            True,
        )
    if "violates PodSecurity" in said:
        level = "pod-security.kubernetes.io/enforce=baseline"
        label = f"kubectl label --overwrite namespace {application} {level}"
        return f"pod security refuses the pods: {label} ({said})", True
    return said, forbidden


def explain_placement(message: str, application: str) -> str:
    """Return why the scheduler places a pod on no node, with the fix.

    Args:
        message: The scheduler's message.
        application: Our application.
    """
    said = _NODES.sub("", " ".join(message.split()), count=1)
    for after in _AFTERWORDS:
        said = said.partition(after)[0]
    for theirs, ours in _PLACEMENTS:
        if re.search(theirs, said):
            return f"{ours.format(application=application)} ({said.rstrip('. ')})"
    raise AssertionError(said)
