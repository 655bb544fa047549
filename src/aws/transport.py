"""Send requests to AWS: the time for late answers, of all services together, is bounded."""

from __future__ import annotations

from typing import Any

import botocore.exceptions
import botocore.httpsession

import polling


class SilenceError(botocore.exceptions.BotoCoreError):
    """There is no time left in this hook for another late answer: nothing was sent."""


class PatientSession:
    """A session of botocore that gives up what takes too long.

    Args:
        session: botocore's own session.
        patience: The time for late answers.
    """

    def __init__(
        self, session: botocore.httpsession.URLLib3Session, patience: polling.Patience
    ) -> None:
        self._session = session
        self._patience = patience

    def send(self, request: Any) -> Any:
        """Return the whole answer to a request.

        Args:
            request: The request, as botocore has prepared it.
        """
        try:
            return self._patience.ask(lambda: self._session.send(request))
        except polling.MuteError as error:
            raise botocore.exceptions.ReadTimeoutError(
                endpoint_url=request.url, error=error
            ) from None
        except polling.ImpatientError:
            raise SilenceError(endpoint_url=request.url) from None

    def close(self) -> None:
        """Close its connections."""
        self._session.close()
