"""Silencing libraries while our own errors and progress say what they would."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Inside the block, libraries show no progress bars, no warnings, and no log lines up to this level."""
    # Imported late: it takes seconds.
    from transformers.utils import logging as messages

    before, bars = logging.root.manager.disable, messages.is_progress_bar_enabled()
    logging.disable(level)
    messages.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if bars:
            messages.enable_progress_bar()
