"""Errors of AWS and of the network, and their messages for the user."""

from __future__ import annotations

import datetime
import email.utils

import botocore.exceptions
import pytest

import problems
from aws import errors, session


def refusal(
    code: str, message: str = "", *, operation: str = "CreateFileSystem", status: int = 400
) -> botocore.exceptions.ClientError:
    return botocore.exceptions.ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        operation,
    )


def translated(error: Exception) -> problems.Problem:
    with pytest.raises(problems.Problem) as raised, errors.translated("create the file system"):
        raise error
    assert len(raised.value.message) <= 120
    assert raised.value.__cause__ is error
    return raised.value


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (refusal("AccessDeniedException"), problems.Blocked, "elasticfilesystem:CreateFileSystem"),
        (
            refusal("UnauthorizedOperation", operation="DescribeVpcAttribute"),
            problems.Blocked,
            "ec2:DescribeVpcAttribute",
        ),
        (
            refusal("AccessDenied", "User: x is not authorized to perform: kms:CreateGrant on y"),
            problems.Blocked,
            "kms:CreateGrant",
        ),
        (refusal("UnrecognizedClientException"), problems.Blocked, "refuses the credentials"),
        (refusal("AuthFailure"), problems.Blocked, "refuses the credentials"),
        (refusal("ExpiredTokenException"), problems.Blocked, "token has expired, renew them"),
        (refusal("RequestExpired"), problems.Blocked, "token has expired, renew them"),
        (refusal("InvalidSignatureException"), problems.Blocked, "the secret key is of another"),
        (refusal("SignatureDoesNotMatch"), problems.Blocked, "the secret key is of another"),
        (refusal("IncompleteSignature"), problems.Blocked, "malformed, renew them"),
        (
            refusal("MissingAuthenticationTokenException"),
            problems.Blocked,
            "malformed, renew them",
        ),
        (refusal("InvalidClientTokenId"), problems.Blocked, "no such access key"),
        (
            refusal(
                "InvalidSignatureException",
                "Signature expired: 20261130T050000Z is now earlier than 20261130T054500Z",
            ),
            problems.Blocked,
            "the machine's clock differs from AWS's",
        ),
        (
            refusal("SignatureDoesNotMatch", "Signature not yet current: 2026 is still later"),
            problems.Blocked,
            "timedatectl set-ntp true",
        ),
        *(
            (refusal(code), problems.Waiting, "AWS throttles the account's requests")
            for code in ("ThrottlingException", "Throttling", "TooManyRequestsException")
        ),
        (refusal("429", status=429), problems.Waiting, "AWS throttles"),
        (refusal("PendingVerification"), problems.Blocked, "AWS is still verifying the account"),
        (refusal("Blocked"), problems.Blocked, "the account is blocked: see its messages"),
        (
            refusal("SubscriptionRequiredException"),
            problems.Blocked,
            "the account's registration is not complete",
        ),
        *(
            (
                botocore.exceptions.ProxyConnectionError(
                    proxy_url="http://proxy.example:3128",
                    error=OSError(f"Tunnel connection failed: {status}"),
                ),
                problems.Waiting,
                f"the proxy refuses ({status[:3]}), cannot create the file system: check",
            )
            for status in ("407 Proxy Authentication Required", "403 Forbidden")
        ),
        (refusal("RequestLimitExceeded", status=503), problems.Waiting, "AWS throttles"),
        (refusal("FileSystemLimitExceeded"), problems.Blocked, "raise it"),
        (refusal("NoFreeAddressesInSubnet"), problems.Blocked, "add a subnet"),
        (refusal("TooManyRequests", status=429), problems.Waiting, "once in 24 hours"),
        (refusal("InternalServerError", status=500), problems.Waiting, "tries again"),
        (refusal("", status=502), problems.Waiting, "502"),
        (refusal("BadRequest", "invalid KMS key"), problems.Blocked, "invalid KMS key"),
        (botocore.exceptions.NoCredentialsError(), problems.Blocked, "juju trust"),
        (
            botocore.exceptions.CredentialRetrievalError(provider="x", error_msg="y"),
            problems.Blocked,
            "juju trust",
        ),
        (
            botocore.exceptions.EndpointConnectionError(endpoint_url="https://efs.example/x"),
            problems.Waiting,
            "cannot reach efs.example",
        ),
        (
            botocore.exceptions.ReadTimeoutError(endpoint_url="https://efs.example/x"),
            problems.Waiting,
            "efs.example does not answer in time",
        ),
        (
            botocore.exceptions.SSLError(endpoint_url="https://efs.example", error="x"),
            problems.Blocked,
            "certificate does not verify",
        ),
    ],
)
def test_an_error_becomes_a_sentence_that_says_what_to_do(
    error: Exception, kind: type[problems.Problem], message: str
) -> None:
    problem = translated(error)
    assert type(problem) is kind
    assert message in problem.message


@pytest.mark.parametrize(
    ("because", "message"),
    [
        ("with an explicit deny in a service control policy", "by a service control policy: let"),
        ("because no service control policy allows the X action", "by a service control policy:"),
        (
            "with an explicit deny in a resource control policy",
            "resource control policy: let the",
        ),
        (
            "with an explicit deny in a permissions boundary",
            "permissions boundary: allow it there",
        ),
        ("because no permissions boundary allows the X action", "permissions boundary: allow it"),
        ("because no session policy allows the X action", "by a session policy: allow it there"),
        ("with an explicit deny in a VPC endpoint policy", "by a VPC endpoint policy: allow it"),
        (
            "with an explicit deny in an identity-based policy",
            "deny in an identity-based policy: remove it",
        ),
        (
            "with an explicit deny in a resource-based policy",
            "in a resource-based policy: remove it",
        ),
        ("with an explicit deny", "by an explicit deny in a policy: remove it"),
        ("because no identity-based policy allows the X action", "grant it to the charm's"),
        ("because no resource-based policy allows the X action", "grant it to the charm's"),
    ],
)
@pytest.mark.parametrize("code", ["AccessDeniedException", "UnauthorizedOperation"])
def test_a_denial_names_the_kind_of_policy_that_has_to_change(
    code: str, because: str, message: str
) -> None:
    action = "elasticfilesystem:ModifyMountTargetSecurityGroups"
    said = f"User: arn:aws:iam::1:user/juju is not authorized to perform: {action} {because}"
    problem = translated(refusal(code, said, status=403))
    assert type(problem) is problems.Blocked
    assert problem.message.startswith(f"AWS denies {action}")
    assert message in problem.message


@pytest.mark.parametrize(
    ("minutes", "told"), [(-90, True), (0, False), (3, False), (5, True), (60 * 24 * 365, True)]
)
@pytest.mark.parametrize("code", ["AuthFailure", "RequestExpired", "InvalidSignatureException"])
def test_a_clock_that_is_wrong_is_known_by_the_time_of_the_answer(
    code: str, minutes: int, told: bool
) -> None:
    error = refusal(code, status=403)
    when = datetime.datetime.now(tz=datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
    headers = {"date": email.utils.format_datetime(when, usegmt=True)}
    error.response["ResponseMetadata"]["HTTPHeaders"] = headers
    assert ("clock" in translated(error).message) is told


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 30 Nov 2026 25:61:00", "\x00"])
def test_a_time_that_cannot_be_read_is_no_clock_that_is_wrong(date: str) -> None:
    error = refusal("AuthFailure", status=403)
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"date": date}
    assert "clock" not in translated(error).message


def test_a_proxys_password_is_not_repeated() -> None:
    error = botocore.exceptions.ProxyConnectionError(
        proxy_url="http://me:hunter2@proxy.example:3128", error="hunter2"
    )
    assert "hunter2" not in translated(error).message


def test_a_fault_of_ours_is_not_reported_as_the_users() -> None:
    with (
        pytest.raises(botocore.exceptions.ParamValidationError),
        errors.translated("create the file system"),
    ):
        raise botocore.exceptions.ParamValidationError(report="x")


@pytest.mark.parametrize(
    ("error", "unsure"),
    [
        (refusal("FileSystemAlreadyExists", status=409), True),
        (refusal("InvalidGroup.Duplicate"), True),
        (refusal("InternalServerError", status=500), True),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="x"), True),
        (botocore.exceptions.ConnectionClosedError(endpoint_url="x"), True),
        (refusal("AccessDeniedException"), False),
        (refusal("BadRequest"), False),
        (botocore.exceptions.NoCredentialsError(), False),
    ],
)
def test_a_call_that_may_have_succeeded_is_distinguished_from_one_that_has_not(
    error: Exception, unsure: bool
) -> None:
    assert errors.may_have_succeeded(translated(error)) is unsure


def test_a_region_that_does_not_exist_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(problems.Blocked, match="us-east-1") as raised:
        session.connect("us-eats-1", None, {})
    assert len(raised.value.message) <= 120


@pytest.mark.parametrize(
    ("region", "suffix"),
    [
        ("us-east-1", "amazonaws.com"),
        ("cn-north-1", "amazonaws.com.cn"),
        ("us-gov-west-1", "amazonaws.com"),
        ("eusc-de-east-1", "amazonaws.eu"),
        ("us-isob-east-1", "sc2s.sgov.gov"),
        ("eu-isoe-west-1", "cloud.adc-e.uk"),
    ],
)
def test_names_end_as_the_regions_partition_has_it(region: str, suffix: str) -> None:
    assert session.connect(region, None, {}).dns_suffix == suffix


@pytest.mark.parametrize(
    ("no_proxy", "used"),
    [("", True), ("10.0.0.1, localhost", True), (".amazonaws.com", False), ("other.com", True)],
)
def test_the_models_proxy_is_used_but_for_hosts_that_it_lists(no_proxy: str, used: bool) -> None:
    proxies = {"http": "", "https": "http://proxy.example:3128", "no_proxy": no_proxy}
    client = session.connect("us-east-1", None, proxies).efs
    assert bool(client.meta.config.proxies) is used  # type: ignore[attr-defined]


def test_what_aws_says_is_never_cut():
    message = "invalid KMS key " + "x" * 200
    with pytest.raises(problems.Blocked) as raised, errors.translated("create the file system"):
        raise refusal("BadRequest", message)
    assert raised.value.message.endswith(message)
