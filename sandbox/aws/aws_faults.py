"""The list of API calls, and the faults that tests inject into them."""

from __future__ import annotations

import dataclasses
import threading
import time

from sandbox.aws import aws_resources


@dataclasses.dataclass(frozen=True)
class Call:
    """A request that reached the API, successful or not.

    Attributes:
        service: "efs", "ec2" or "sts".
        operation: The operation's name, such as "CreateFileSystem".
        write: Whether the operation may change something.
    """

    service: str
    operation: str
    write: bool


class AwsFaults:
    """The faults that a test injects; the operation "" stands for every operation.

    Attributes:
        calls: The calls so far.
        disabled_regions: The regions that the account has not enabled; they know no access key.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.disabled_regions: set[str] = set()
        self._failures: list[_Failure] = []
        self._lost: list[str] = []
        self._denied: set[str] = set()
        self._lock = threading.Lock()
        self._hang_seconds = 0.0
        self._released = threading.Event()

    def reset_calls(self) -> None:
        """Clear the list of calls."""
        self.calls.clear()

    def counts(self) -> tuple[int, int]:
        """Return the number of reading and of writing calls."""
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
        """Answer the operation's next calls with an error and do nothing."""
        error = aws_resources.Refused(error_code, message or f"{error_code}, on purpose", status)
        with self._lock:
            self._failures.extend([_Failure(operation, error)] * times)

    def lose_reply(self, operation: str, times: int = 1) -> None:
        """Execute the operation's next calls, but drop their connections."""
        with self._lock:
            self._lost.extend([operation] * times)

    def deny(self, permission: str) -> None:
        """Remove a permission: an IAM action, or its part after the service; "" for all."""
        self._denied.add(permission)

    def allow(self, permission: str) -> None:
        """Restore a permission."""
        self._denied.discard(permission)

    def denies(self, action: str) -> bool:
        """Return whether an IAM action is denied."""
        return bool(self._denied & {action, action.partition(":")[2], ""})

    def hang(self, seconds: float) -> None:
        """Delay each call by this time; 0 ends the delay, also for waiting calls."""
        released, self._released = self._released, threading.Event()
        self._hang_seconds = seconds
        released.set()

    def record(self, call: Call, seconds: float) -> None:
        """Add a call to the list, and wait for the latency of a call."""
        self.calls.append(call)
        time.sleep(seconds)
        if self._hang_seconds:
            self._released.wait(self._hang_seconds)

    def check(self, call: Call) -> None:
        """Raise the error that was injected for a call, if any."""
        with self._lock:
            for failure in self._failures:
                if failure.operation in (call.operation, ""):
                    self._failures.remove(failure)
                    raise failure.error

    def drops_reply(self, call: Call) -> bool:
        """Return whether to drop the reply to this call."""
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
