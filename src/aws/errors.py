"""Translate botocore's errors into problems that tell the user what to do."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from typing import TYPE_CHECKING

import botocore.exceptions

import problems
from aws import answers, refusals, transport

if TYPE_CHECKING:
    from collections.abc import Generator

_PASSING = {
    "DependencyTimeout",
    "DependencyViolation",
    "FileSystemInUse",
    "IncorrectFileSystemLifeCycleState",
    "IncorrectMountTargetState",
    "InsufficientThroughputCapacity",
    "InternalError",
    "InternalServerError",
    "RequestTimeout",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
}
_THROTTLED = {
    "BandwidthLimitExceeded",
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}
_ADVICE = {
    "Blocked": "the account is blocked: see its messages in AWS's console",
    "NotSignedUp": "the account's registration is not complete: see it in AWS's console",
    "PendingVerification": "AWS is still verifying the account: wait for its mail, about a day",
    "SubscriptionRequiredException": "the account's registration is not complete: see it in AWS's "
    "console",
    "FileSystemLimitExceeded": "the account's quota is reached: raise it, or delete a file system",
    "NetworkInterfaceLimitExceeded": "the quota of network interfaces is reached: raise it",
    "NoFreeAddressesInSubnet": "its subnet has no free address: free one, or add a subnet",
    "OptInRequired": "the region is not enabled for this account: enable it, or set another",
    "RulesPerSecurityGroupLimitExceeded": "the quota of security group rules is reached: raise it",
    "SecurityGroupLimitExceeded": "the quota of security groups is reached: raise it",
    "ThroughputLimitExceeded": "the region's throughput quota is reached: raise it",
    "UnsupportedAvailabilityZone": "AWS EFS is not offered in this zone: choose another one, also "
    "for workers",
    "TooManyRequests": "AWS allows it once in 24 hours, the charm tries again",
}
# Answers to botocore's own retry of a call whose first reply was lost. AWS gives the same answers
# where a change is not visible everywhere yet, and where somebody else made it.
_RETRY_ANSWERS = {
    "DependencyViolation",
    "FileSystemAlreadyExists",
    "FileSystemNotFound",
    "IncorrectFileSystemLifeCycleState",
    "IncorrectMountTargetState",
    "InvalidGroup.Duplicate",
    "InvalidGroup.NotFound",
    "InvalidGroupId.NotFound",
    "InvalidPermission.Duplicate",
    "InvalidPermission.NotFound",
    "MountTargetConflict",
    "MountTargetNotFound",
    "SecurityGroupNotFound",
    "TooManyRequests",
}
_HTTP_SERVER_ERROR = 500
_HTTP_TOO_MANY = 429
# What http.client says of a proxy's answer to CONNECT.
_PROXY_REFUSES = re.compile(r"Tunnel connection failed: (\d{3})")
_TIMEOUTS = (botocore.exceptions.ReadTimeoutError, botocore.exceptions.ConnectTimeoutError)


@contextlib.contextmanager
def translated(operation: str, *, option: str = "") -> Generator[None]:
    """Raise botocore's errors as problems, with the error as their cause.

    Args:
        operation: The operation, for the message: "create the file system".
        option: The option that needs it, for the message, where the rest does without.

    Raises:
        problems.Waiting: The error is temporary.
        problems.Blocked: The user has to act.
    """
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _named(option, _translate_refusal(operation, error)) from error
    except botocore.exceptions.ParamValidationError:
        raise  # a bug of the charm, which must not look like an error of AWS or of the user
    except botocore.exceptions.BotoCoreError as error:
        raise _named(option, _translate_failure(operation, error)) from error


def error_code(problem: problems.Problem) -> str:
    """Return the code of the AWS error behind a problem; "" where AWS did not answer."""
    cause = problem.__cause__
    if isinstance(cause, botocore.exceptions.ClientError):
        return cause.response.get("Error", {}).get("Code", "")
    return ""


def may_have_succeeded(problem: problems.Problem) -> bool:
    """Return whether a call that failed may have succeeded in AWS: observe again to know."""
    cause = problem.__cause__
    if isinstance(cause, botocore.exceptions.ClientError):
        return error_code(problem) in _RETRY_ANSWERS or _http_status(cause) >= _HTTP_SERVER_ERROR
    return isinstance(cause, (botocore.exceptions.HTTPClientError, answers.UnreadableAnswerError))


def is_timeout(problem: problems.Problem) -> bool:
    """Return whether AWS was mute: asking again in this hook would only take more time."""
    return isinstance(
        problem.__cause__, (botocore.exceptions.ReadTimeoutError, transport.SilenceError)
    )


def _named(option: str, problem: problems.Problem) -> problems.Problem:
    return type(problem)(f"option {option}: {problem.message}") if option else problem


def _translate_refusal(operation: str, error: botocore.exceptions.ClientError) -> problems.Problem:
    """Return the problem for an error that AWS answered."""
    name = error.response.get("Error", {}).get("Code", "")
    if name in refusals.DENIED:
        return refusals.explain_denial(error)
    if name in refusals.BAD_CREDENTIALS:
        return refusals.explain_credentials(error)
    # A proxy's answer has no other name than its status.
    throttled = _http_status(error) == _HTTP_TOO_MANY and name not in _ADVICE
    if throttled or name in _THROTTLED:
        return problems.Waiting(
            f"AWS throttles the account's requests, cannot {operation}: the charm tries again"
        )
    if name in _ADVICE:
        kind = problems.Waiting if name == "TooManyRequests" else problems.Blocked
        return kind(f"cannot {operation}: {_ADVICE[name]}")
    if name in _PASSING or _http_status(error) >= _HTTP_SERVER_ERROR:
        reason = name or str(_http_status(error))
        return problems.Waiting(f"AWS could not {operation} ({reason}): the charm tries again")
    message = error.response.get("Error", {}).get("Message", "")
    return problems.Blocked(f"AWS refuses to {operation}: {name} {message}".rstrip())


def _translate_failure(
    operation: str, error: botocore.exceptions.BotoCoreError
) -> problems.Problem:
    """Return the problem for a call that got no answer.

    The errors' own messages are not repeated: they contain whole URLs, also a proxy's password.
    """
    if isinstance(
        error,
        (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.PartialCredentialsError,
            botocore.exceptions.CredentialRetrievalError,
            botocore.exceptions.MetadataRetrievalError,
        ),
    ):
        return problems.Blocked(
            "no AWS credentials: juju trust the application, or set its option credentials"
        )
    if isinstance(error, botocore.exceptions.ProxyConnectionError):
        match = _PROXY_REFUSES.search(str(error.kwargs.get("error", "")))
        does = f"refuses ({match[1]})" if match else "does not answer"
        return problems.Waiting(f"the proxy {does}, cannot {operation}: check the model's proxies")
    if isinstance(error, botocore.exceptions.SSLError):
        return problems.Blocked(
            f"AWS's certificate does not verify, cannot {operation}: check the model's proxies"
        )
    if isinstance(error, answers.UnreadableAnswerError):
        return problems.Waiting(
            f"cannot {operation}: AWS's answer cannot be read ({error.kwargs['kind']:.40}): "
            "the charm tries again"
        )
    host = urllib.parse.urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname or "AWS"
    if isinstance(error, (*_TIMEOUTS, transport.SilenceError)):
        return problems.Waiting(
            f"{host} does not answer in time, cannot {operation}: the charm tries again"
        )
    return problems.Waiting(f"cannot reach {host} to {operation}: the charm tries again")


def _http_status(error: botocore.exceptions.ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
