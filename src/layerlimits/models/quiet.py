"""Silencing transformers and torch while our own errors name the same problems."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, transformers and torch print no reports and warnings; our errors name the same problems."""
    from transformers.utils import logging as messages

    before, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity(logging.CRITICAL)
    messages.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        messages.set_verbosity(before)
        if bars:
            messages.enable_progress_bar()
