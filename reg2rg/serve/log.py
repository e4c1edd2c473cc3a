"""What the service says on standard error: job ids and counts, and nothing that came with a study."""

import logging
import sys
import threading
import warnings
from typing import TextIO

LOG = logging.getLogger("reg2rg.serve")
"""Where the service logs. No message holds anything of a patient: no name, UID, file name, or error text."""


def set_up_log(stream: TextIO = sys.stderr) -> None:
    """Lets the service's own lines through, and silences what other libraries would say: they quote headers.

    For the processes of the service only.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    warnings.simplefilter("ignore")
    threading.excepthook = _say_kind


def _say_kind(arguments: threading.ExceptHookArgs) -> None:
    LOG.error("a thread ended by %s", arguments.exc_type.__name__)
