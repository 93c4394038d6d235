"""The service's log: one line per request, as text or as JSON."""

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

FIELDS = "fields"  # attribute of a record that has more than its message


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: time, level, logger, message, and the record's own fields."""
        written = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": written.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
        }
        fields = getattr(record, FIELDS, None)
        line |= {"message": record.getMessage()} if fields is None else fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure(form: Literal["text", "json"]) -> None:
    """Write log records to the error stream, all in one form."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # else it lists its plug-ins
    # The lines do not contain these values: do not compute them for each record.
    logging._srcfile = None  # noqa: SLF001  (as its documentation has it)
    logging.logThreads = logging.logMultiprocessing = False


def note(log: logging.Logger, event: str, fields: Mapping[str, Any]) -> None:
    """Write a line of fields: ``event name=value …``, or a JSON object with the same names.

    Texts are quoted and escaped, so that none can forge another field or another line.
    """
    log.info("%s %s", event, _Line(fields), extra={FIELDS: {"message": event, **fields}})


class _Line:
    """Fields as text, once somebody wants it."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __str__(self) -> str:
        """Return ``name=value …``."""
        return " ".join(f"{name}={_shown(value)}" for name, value in self._fields.items())


def _shown(value: Any) -> str:
    if isinstance(value, str) and not value.replace("-", "").isalnum():
        return repr(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
