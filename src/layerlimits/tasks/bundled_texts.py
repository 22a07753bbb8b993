"""Perplexity of short articles of the bundled world with their summaries, as plain text.

The bundled model has learned to answer questions and not to write them: its perplexity here is high, and says what
removing layers changes, not how well it writes.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from layerlimits.reference.world.articles import article
from layerlimits.reference.world.problem import draw, split_of
from layerlimits.tasks._texts import text_task

# More than any interval needs; the articles are the same in every run.
_ARTICLES, _SEED = 2000, 0


def _documents(data_dir: Path | None) -> Sequence[str]:
    problems = islice(draw(article, "evaluate", _SEED, split_of), _ARTICLES)
    return [f"{problem.prompt}\n{problem.answer}\n" for problem in problems]


bundled_texts = text_task("bundled_texts", _documents, "perplexity of short articles of the bundled world")
