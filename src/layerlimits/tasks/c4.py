"""C4: cleaned web pages (Raffel et al., arXiv 1910.10683); perplexity of pages of the first validation file."""

from layerlimits.tasks._files import Part
from layerlimits.tasks._texts import Corpus, text_task

c4 = text_task(
    "c4",
    Corpus("c4", "allenai/c4", Part("validation", "en", "validation", "en/c4-validation.00000-of-00008.json.gz")),
    "C4 (en), perplexity of web pages of the first validation file",
)
