"""Turns what the Kubernetes client raises into sentences for the user, without any credential."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Generator

import httpx2
import lightkube.core.exceptions
import msgspec

import problems

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
INVALID = 422


class UnreachableError(problems.Waiting):
    """No answer came: the next call would have to wait as long, and for as little."""


@contextlib.contextmanager
def translated(doing: str) -> Generator[None]:
    """Raise `problems.Waiting` or `problems.Blocked` for what goes wrong in the block.

    The client's own errors carry the request, and with it the token: none is kept as the cause.

    Args:
        doing: What is being done, as in "list nodes": it opens the sentence where the server's
            words alone would not say.
    """
    try:
        yield
    except lightkube.core.exceptions.ApiError as error:
        raise translate_refusal(doing, http_status(error), server_message(error)) from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise problems.Waiting(
            f"{doing}: something that is not Kubernetes answers {status} at the API address"
        ) from None
    except httpx2.TimeoutException:
        raise UnreachableError(
            f"{doing}: the Kubernetes API does not answer in time: check kubernetes-control-plane"
        ) from None
    except httpx2.ConnectError as error:
        raise _unreachable(doing, error) from None
    except (httpx2.TransportError, httpx2.DecodingError, msgspec.DecodeError) as error:
        kind = type(error).__name__
        raise UnreachableError(
            f"{doing}: the connection to the Kubernetes API broke ({kind}): trying again"
        ) from None


def translate_refusal(doing: str, status: int, said: str) -> problems.Problem:
    """The problem that an API server's refusal is.

    Args:
        doing: What was being done.
        status: The HTTP status.
        said: The server's own words.
    """
    if status == UNAUTHORIZED:
        return problems.Blocked(
            "Kubernetes refuses our token: remove the kube-control relation and relate it again"
        )
    if "being terminated" in said:
        return problems.Waiting(f"{doing}: {said}")
    if "exceeded quota" in said:
        return problems.Blocked(f"{doing}: {said[said.index('exceeded quota') :]}")
    if status in (FORBIDDEN, INVALID):
        return problems.Blocked(f"{doing}: Kubernetes refuses: {said}")
    return problems.Waiting(f"{doing}: Kubernetes answers {status}: {said}")


def http_status(error: lightkube.core.exceptions.ApiError) -> int:
    """The HTTP status of an API server's refusal."""
    return error.status.code or 0


def server_message(error: lightkube.core.exceptions.ApiError) -> str:
    """What the API server said, on one line."""
    return " ".join((error.status.message or error.status.reason or "no reason given").split())


def _unreachable(doing: str, error: httpx2.ConnectError) -> problems.Problem:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        why = cause.verify_message or "certificate verify failed"
        return problems.Blocked(
            f"the Kubernetes API's certificate does not verify ({why}): relate certificates "
            "to the CA that signed it"
        )
    return UnreachableError(
        f"{doing}: no connection to the Kubernetes API ({error}): is it running?"
    )
