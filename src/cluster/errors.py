"""Translate errors of the Kubernetes client into messages for the user, without credentials."""

from __future__ import annotations

import contextlib
import re
import ssl
from collections.abc import Generator

import httpx2
import lightkube.core.exceptions
import msgspec

import problems

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
CONFLICT, INVALID = 409, 422
SERVER_ERROR = 500
# The API server's words about a webhook that refuses.
_WEBHOOK = "denied the request"
# The object, which is named already.
_NAMED = re.compile(r'^[a-z.]+ "[^"]*" is forbidden: ')


class UnreachableError(problems.Waiting):
    """The Kubernetes API did not answer: further calls would only wait, too."""


class UnreadableError(UnreachableError):
    """What answered is not an API server, or its answer is not whole.

    Args:
        doing: The operation.
        kind: What cannot be read about the answer.
    """

    def __init__(self, doing: str, kind: str) -> None:
        super().__init__(
            f"{doing}: the Kubernetes API's answer cannot be read ({kind}): trying again"
        )


class ConflictError(problems.Waiting):
    """The object was changed or replaced since it was observed: look at it again."""


@contextlib.contextmanager
def translated(doing: str) -> Generator[None]:
    """Raise `problems.Waiting` or `problems.Blocked` for errors in the block.

    The client's own errors carry the request, and with it the token: none is kept as the cause.

    Args:
        doing: The operation, as in "list nodes": messages begin with it.
    """
    try:
        yield
    except lightkube.core.exceptions.ApiError as error:
        raise translate_refusal(doing, http_status(error), server_message(error)) from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise problems.Waiting(
            f"{doing}: what answers at the Kubernetes API's address is not Kubernetes ({status})"
        ) from None
    except httpx2.TimeoutException:
        raise UnreachableError(
            f"{doing}: the Kubernetes API does not answer in time: check kubernetes-control-plane"
        ) from None
    except httpx2.ConnectError as error:
        raise _unreachable(doing, error) from None
    except httpx2.TransportError as error:
        kind = type(error).__name__
        raise UnreachableError(
            f"{doing}: the connection to the Kubernetes API broke ({kind}): trying again"
        ) from None
    except (
        *(httpx2.DecodingError, msgspec.MsgspecError),
        *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
    ) as error:
        # The decoders trust what they get; their own words may quote it, with a secret.
        raise UnreadableError(doing, type(error).__name__) from None


def translate_refusal(doing: str, status: int, message: str) -> problems.Problem:
    """Return the problem for a request that the API server refused.

    Args:
        doing: The operation.
        status: The HTTP status.
        message: The server's message.
    """
    message = _NAMED.sub("", message)
    if _WEBHOOK in message:
        status = FORBIDDEN  # it chooses the status itself: 401 is not our token's
    if status == UNAUTHORIZED:
        return problems.Blocked(
            "Kubernetes refuses our token: remove the kube-control relation and relate it again"
        )
    if status == CONFLICT:
        return ConflictError(f"{doing}: it was changed at the same time: trying again")
    if "being terminated" in message:
        return problems.Waiting(f"{doing}: {message}")
    if "exceeded quota" in message:
        return problems.Blocked(f"{doing}: {message[message.index('exceeded quota') :]}")
    if status in (FORBIDDEN, INVALID):
        limit = "a LimitRange refuses it: change that, or set claim-capacity"
        why = limit if "per PersistentVolumeClaim is" in message else "Kubernetes refuses"
        return problems.Blocked(f"{doing}: {why}: {message}")
    return problems.Waiting(f"{doing}: Kubernetes answers {status}: {message}")


def http_status(error: lightkube.core.exceptions.ApiError) -> int:
    """Return the HTTP status of an API server's refusal; 0 for one that is not an API server's."""
    status = error.response.status_code
    return status if error.status.code == status else 0


def server_message(error: lightkube.core.exceptions.ApiError) -> str:
    """Return the API server's message, on one line."""
    return " ".join((error.status.message or error.status.reason or "no reason given").split())


def _unreachable(doing: str, error: httpx2.ConnectError) -> problems.Problem:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = cause.verify_message or "certificate verify failed"
        return problems.Blocked(
            f"the Kubernetes API's certificate does not verify ({reason}): relate certificates "
            "to the CA that signed it"
        )
    return UnreachableError(
        f"{doing}: no connection to the Kubernetes API ({error}): is it running?"
    )
