"""WikiText-2: articles of Wikipedia (Merity et al., arXiv 1609.07843); perplexity of the articles of its test file."""

import re
from collections.abc import Sequence

from layerlimits.tasks._files import Part
from layerlimits.tasks._texts import Corpus, text_task

# " = Robert Boulter = \n" begins an article, " = = Career = = \n" a section of it.
_TITLE = re.compile(r"\s*= (?!= )[^\n]*[^\s=] =\s*")


def _articles(lines: Sequence[str]) -> list[str]:
    """Join the lines of each article; lines before the first title are an article as well."""
    articles: list[list[str]] = [[]]
    for place, line in enumerate(lines):
        # A title stands between blank lines; a line of an equation may look like one.
        alone = all(not lines[next_to].strip() for next_to in (place - 1, place + 1) if 0 <= next_to < len(lines))
        if alone and _TITLE.fullmatch(line):
            articles.append([])
        articles[-1].append(line if line.endswith("\n") else f"{line}\n")
    return ["".join(article) for article in articles if "".join(article).strip()]


wikitext2 = text_task(
    "wikitext2",
    Corpus("wikitext2", "Salesforce/wikitext", Part("test", "wikitext-2-raw-v1", "test"), _articles),
    "WikiText-2 (raw), perplexity of the articles of the test file",
)
