"""Refusals of the API server, of its webhooks and of its limits, as problems for the user."""

from __future__ import annotations

import pytest

import problems
from cluster import errors

DOING = "claim default/aws-efs"
NAMED = 'persistentvolumeclaims "aws-efs" is forbidden: '


@pytest.mark.parametrize("status", [400, 401, 403, 404, 406, 409, 422, 500])
def test_a_webhook_that_refuses_is_heard_whatever_status_it_chooses(status: int) -> None:
    words = 'admission webhook "validate.kyverno.svc-fail" denied the request: ' + "no " * 200
    found = errors.translate_refusal(DOING, status, words.strip())
    assert type(found) is problems.Blocked
    assert found.message == f"{DOING}: Kubernetes refuses: {words.strip()}"


@pytest.mark.parametrize(
    ("status", "said", "kind", "message"),
    [
        (
            403,
            NAMED + "maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 100Gi",
            problems.Blocked,
            "a LimitRange refuses it: change that, or set claim-capacity: maximum storage usage",
        ),
        (
            403,
            NAMED + "exceeded quota: q, requested: requests.storage=100Gi, used: "
            "requests.storage=0, limited: requests.storage=5Gi",
            problems.Blocked,
            "exceeded quota: q, requested: requests.storage=100Gi",
        ),
        (
            403,
            NAMED + "ValidatingAdmissionPolicy 'team' with binding 'all' denied request: label",
            problems.Blocked,
            "Kubernetes refuses: ValidatingAdmissionPolicy 'team' with binding 'all' denied",
        ),
        (
            422,
            'PersistentVolume "x" is invalid: spec.nfs: Forbidden: is immutable',
            problems.Blocked,
            'Kubernetes refuses: PersistentVolume "x" is invalid: spec.nfs',
        ),
        (
            500,
            'Internal error occurred: failed calling webhook "a.b": context deadline exceeded',
            problems.Waiting,
            "Kubernetes answers 500: Internal error occurred: failed calling webhook",
        ),
        (409, "the object has been modified", errors.ConflictError, "it was changed at the same"),
    ],
)
def test_a_refusal_tells_its_numbers_and_words(
    status: int, said: str, kind: type[problems.Problem], message: str
) -> None:
    found = errors.translate_refusal(DOING, status, said)
    assert type(found) is kind
    assert found.message.startswith(f"{DOING}: {message}")
