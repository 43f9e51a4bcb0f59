"""Logs as lines of JSON, for what gathers them from many servers."""

import json
import logging
from datetime import UTC, datetime

OF_THE_SERVER = ("uvicorn", "uvicorn.error", "uvicorn.access")


class JsonLines(logging.Formatter):
    """One object a line: time (UTC), level, logger, message, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


def log_as_json() -> None:
    """Have all loggers write such lines to standard error, the server's own among them, which is started."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name in OF_THE_SERVER:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
