"""What AWS says when it refuses, as a sentence that tells the user what to do."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from typing import TYPE_CHECKING

import botocore.exceptions

import problems
from aws import permissions

if TYPE_CHECKING:
    from collections.abc import Generator

_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_BAD_KEYS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_PASSING = {
    "DependencyTimeout",
    "DependencyViolation",
    "FileSystemInUse",
    "IncorrectFileSystemLifeCycleState",
    "IncorrectMountTargetState",
    "InsufficientThroughputCapacity",
    "InternalError",
    "InternalServerError",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "Unavailable",
}
_ADVICE = {
    "FileSystemLimitExceeded": "the account's limit is reached: raise the quota or delete one",
    "NetworkInterfaceLimitExceeded": "the limit of interfaces is reached: raise the quota",
    "NoFreeAddressesInSubnet": "its subnet has no free address: free one, or add a subnet",
    "OptInRequired": "the region is not enabled for this account: enable it, or set another",
    "RulesPerSecurityGroupLimitExceeded": "the limit of rules is reached: raise the quota",
    "SecurityGroupLimitExceeded": "the limit of groups is reached: raise the quota",
    "ThroughputLimitExceeded": "the region's limit of throughput is reached: raise the quota",
    "UnsupportedAvailabilityZone": "AWS EFS is not offered in this zone: keep workers out of it",
    "TooManyRequests": "AWS allows it once in 24 hours, it is tried again by itself",
}
# What AWS answers to botocore's own retry of a call whose first reply was lost; a change that is
# not seen everywhere yet, or is somebody else's, is answered so too.
_SECOND_ANSWERS = {
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


@contextlib.contextmanager
def translated(doing: str) -> Generator[None]:
    """Let botocore's errors out as problems, the cause attached.

    Args:
        doing: What was being done, for the sentence: "create the file system".

    Raises:
        problems.Waiting: It mends itself.
        problems.Blocked: It needs the user.
    """
    try:
        yield
    except botocore.exceptions.ClientError as error:
        raise _translate_refusal(doing, error) from error
    except botocore.exceptions.ParamValidationError:
        raise  # nothing that AWS or a user did: a fault of ours, that must not look like theirs
    except botocore.exceptions.BotoCoreError as error:
        raise _translate_failure(doing, error) from error


def error_code(problem: problems.Problem) -> str:
    """AWS's code of the error that this problem came from; "" where it is not AWS's word."""
    cause = problem.__cause__
    if isinstance(cause, botocore.exceptions.ClientError):
        return cause.response.get("Error", {}).get("Code", "")
    return ""


def may_have_succeeded(problem: problems.Problem) -> bool:
    """Whether a call that failed may have done its work all the same: look before believing."""
    cause = problem.__cause__
    if isinstance(cause, botocore.exceptions.ClientError):
        return error_code(problem) in _SECOND_ANSWERS or _http_status(cause) >= _HTTP_SERVER_ERROR
    return isinstance(cause, botocore.exceptions.HTTPClientError)


def _translate_refusal(doing: str, error: botocore.exceptions.ClientError) -> problems.Problem:
    """The sentence for an answer of AWS that is an error."""
    name = error.response.get("Error", {}).get("Code", "")
    if name in _DENIED:
        return problems.Blocked(
            f"AWS denies {_denied_action(error)}: allow it to the charm's credentials"
        )
    if name in _BAD_KEYS:
        return problems.Blocked(
            f"AWS refuses the credentials ({name}): renew them, and check the machine's clock"
        )
    if name in _ADVICE:
        kind = problems.Waiting if name == "TooManyRequests" else problems.Blocked
        return kind(f"cannot {doing}: {_ADVICE[name]}")
    if name in _PASSING or _http_status(error) >= _HTTP_SERVER_ERROR:
        said = name or str(_http_status(error))
        return problems.Waiting(f"AWS could not {doing} ({said}): it is tried again")
    said = error.response.get("Error", {}).get("Message", "")
    return problems.Blocked(f"AWS refuses to {doing}: {name} {said}".rstrip())


def _translate_failure(doing: str, error: botocore.exceptions.BotoCoreError) -> problems.Problem:
    """The sentence for a call that never got an answer.

    The errors' own texts are not repeated: they hold whole URLs, a proxy's with its password.
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
        return problems.Waiting(
            f"the proxy does not answer, cannot {doing}: check the model's proxies"
        )
    if isinstance(error, botocore.exceptions.SSLError):
        return problems.Blocked(
            f"AWS's certificate does not verify, cannot {doing}: check the model's proxies"
        )
    host = urllib.parse.urlsplit(str(error.kwargs.get("endpoint_url", ""))).hostname or "AWS"
    if isinstance(
        error, (botocore.exceptions.ReadTimeoutError, botocore.exceptions.ConnectTimeoutError)
    ):
        return problems.Waiting(
            f"{host} does not answer in time, cannot {doing}: it is tried again"
        )
    return problems.Waiting(f"{host} cannot be reached to {doing}: it is tried again")


def _denied_action(error: botocore.exceptions.ClientError) -> str:
    """The IAM action that was denied; AWS names it where EFS needed it in our name."""
    said = error.response.get("Error", {}).get("Message", "")
    named = re.search(r"not authorized to perform:? ([a-z0-9-]+:[A-Za-z]+)", said)
    if named:
        return named[1]
    efs = f"elasticfilesystem:{error.operation_name}"
    return efs if efs in permissions.EFS_ACTIONS else f"ec2:{error.operation_name}"


def _http_status(error: botocore.exceptions.ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
