"""Wait for AWS and Kubernetes: for answers, and at growing intervals; never without an end."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Callable

_Answer = TypeVar("_Answer")

# The time that a hook waits for answers that come late or never, all of them together.
PATIENCE_SECONDS = 25.0
# An answer within this time is not late.
QUICK_SECONDS = 2.0
# The longest time for one answer, so that one mute endpoint does not take all of it.
ANSWER_SECONDS = 20.0


class MuteError(Exception):
    """An answer did not come in time; the request may have been carried out."""


class ImpatientError(Exception):
    """The time for late answers was used up before the request was sent."""


class Patience:
    """The time of a hook, or of an action, for late answers: all its clients share one.

    An endpoint that accepts connections and is mute, or sends a byte now and then, or a name
    server that is mute, would otherwise hold the hook for the sum of all timeouts.
    """

    def __init__(self) -> None:
        self._left_seconds = PATIENCE_SECONDS
        self._lock = threading.Lock()

    def ask(self, request: Callable[[], _Answer]) -> _Answer:
        """Return the answer to a request, or raise its error.

        No timeout of a socket limits a name server's silence, or an answer that trickles. So the
        request is made by a thread, which is left alone when the time is up.

        Args:
            request: Sends the request and reads the whole answer.

        Raises:
            MuteError: It did not come in time.
            ImpatientError: There is no time left for another late answer; nothing was sent.
        """
        if self._left_seconds <= 0:
            raise ImpatientError
        answer: concurrent.futures.Future[_Answer] = concurrent.futures.Future()
        began = time.monotonic()
        threading.Thread(target=_fulfil, args=(answer, request), daemon=True).start()
        done, _ = concurrent.futures.wait([answer], min(ANSWER_SECONDS, self._left_seconds))
        took = time.monotonic() - began
        if took >= QUICK_SECONDS or not done:
            with self._lock:
                self._left_seconds -= took
        if not done:
            raise MuteError
        return answer.result()


def _fulfil(answer: concurrent.futures.Future[_Answer], request: Callable[[], _Answer]) -> None:
    try:
        answer.set_result(request())
    except BaseException as error:  # noqa: BLE001 - the thread that asked raises it
        answer.set_exception(error)


def poll(
    ask: Callable[[], _Answer], done: Callable[[_Answer], bool], timeout_seconds: float
) -> _Answer:
    """Ask until an answer is good or the time is up: often at first, then every two seconds.

    Args:
        ask: The question; it is asked at least once.
        done: Tells whether an answer ends the waiting.
        timeout_seconds: The time after which no further question is asked.

    Returns:
        The last answer.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda answer: not done(answer)),
        stop=tenacity.stop_before_delay(timeout_seconds),
        # The good answer is noticed after at most 1.4 times as long as it took.
        wait=tenacity.wait_exponential(multiplier=0.05, exp_base=1.4, max=2),
        retry_error_callback=_last_answer,
    )(ask)


def retry(call: Callable[[], _Answer], error: type[Exception], attempts: int) -> _Answer:
    """Call again while it raises an error, at growing intervals.

    Args:
        call: The call.
        error: The error; any other one ends the calls.
        attempts: The number of calls after which the error is raised.
    """
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(error),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential(multiplier=0.05, max=2),
        reraise=True,
    )(call)


def pause(repeats: int) -> None:
    """Wait before a step is repeated: 0.3 s the first time, then twice as long each time.

    Args:
        repeats: The number of times that the step was taken before.
    """
    time.sleep(0.15 * 2**repeats)


def _last_answer(state: tenacity.RetryCallState) -> Any:
    return None if state.outcome is None else state.outcome.result()
