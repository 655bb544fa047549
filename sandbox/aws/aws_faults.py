"""The calls that came in, and what goes wrong with them on purpose."""

from __future__ import annotations

import dataclasses
import threading
import time

from sandbox.aws import aws_resources


@dataclasses.dataclass(frozen=True)
class Call:
    """One request that reached the API, whatever came of it.

    Attributes:
        service: "efs" or "ec2".
        operation: The operation's name, as "CreateFileSystem".
        write: Whether it is one that may change something.
    """

    service: str
    operation: str
    write: bool


class Faults:
    """What a test asks of the API; an operation "" stands for every operation.

    Attributes:
        calls: The calls so far.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._failures: list[_Failure] = []
        self._lost: list[str] = []
        self._denied: set[str] = set()
        self._lock = threading.Lock()
        self._hang_seconds = 0.0
        self._released = threading.Event()

    def reset_calls(self) -> None:
        """Count from zero."""
        self.calls.clear()

    def counts(self) -> tuple[int, int]:
        """How many calls read and how many wrote."""
        writes = sum(call.write for call in self.calls)
        return len(self.calls) - writes, writes

    def fail(
        self,
        operation: str,
        error_code: str,
        *,
        status: int = 400,
        times: int = 1,
        message: str = "",
    ) -> None:
        """Answer the operation's next calls with an error, doing nothing."""
        error = aws_resources.Refused(error_code, message or f"{error_code}, on purpose", status)
        with self._lock:
            self._failures.extend([_Failure(operation, error)] * times)

    def lose_reply(self, operation: str, times: int = 1) -> None:
        """Do what the operation's next calls ask for, and drop their connections."""
        with self._lock:
            self._lost.extend([operation] * times)

    def deny(self, operation: str) -> None:
        """Take the permission for an operation away."""
        self._denied.add(operation)

    def allow(self, operation: str) -> None:
        """Give the permission back."""
        self._denied.discard(operation)

    def hang(self, seconds: float) -> None:
        """Let each call wait so long before it is looked at; 0 ends it, for those waiting too."""
        released, self._released = self._released, threading.Event()
        self._hang_seconds = seconds
        released.set()

    def take(self, call: Call, seconds: float) -> None:
        """Note a call, and take the time that calls take."""
        self.calls.append(call)
        time.sleep(seconds)
        if self._hang_seconds:
            self._released.wait(self._hang_seconds)

    def check(self, call: Call, account_id: str) -> None:
        """Refuse a call that was to be refused."""
        if self._denied & {call.operation, ""}:
            raise _denial(call, account_id)
        with self._lock:
            for failure in self._failures:
                if failure.operation in (call.operation, ""):
                    self._failures.remove(failure)
                    raise failure.error

    def loses(self, call: Call) -> bool:
        """Whether the reply to this call gets lost."""
        with self._lock:
            for operation in (call.operation, ""):
                if operation in self._lost:
                    self._lost.remove(operation)
                    return True
        return False


@dataclasses.dataclass(frozen=True)
class _Failure:
    operation: str
    error: aws_resources.Refused


def _denial(call: Call, account_id: str) -> aws_resources.Refused:
    who = f"User: arn:aws:iam::{account_id}:user/juju is not authorized to perform:"
    if call.service == "ec2":
        what = f"You are not authorized to perform this operation. {who} ec2:{call.operation}"
        return aws_resources.Refused("UnauthorizedOperation", what, 403)
    what = f"{who} elasticfilesystem:{call.operation} on the specified resource"
    return aws_resources.Refused("AccessDeniedException", what, 403)
