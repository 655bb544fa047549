"""Errors of AWS and of the network, and their messages for the user."""

from __future__ import annotations

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
        (refusal("ExpiredTokenException"), problems.Blocked, "renew them"),
        (refusal("ThrottlingException"), problems.Waiting, "tries again"),
        (refusal("RequestLimitExceeded", status=503), problems.Waiting, "tries again"),
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
    [("us-east-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")],
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
