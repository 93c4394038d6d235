"""gunicorn's messages in the service's log."""

from typing import Any

from gunicorn.glogging import Logger


class Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own messages among all others, in their format."""

    def setup(self, cfg: Any) -> None:
        """Let the messages through to the handlers of the service."""
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            self.error_log.removeHandler(handler)
        self.error_log.propagate = True
