"""Answers that a page must show as text: HTML, scripts, 100,000 characters, right-to-left and control characters."""

from layerlimits.diagnostics import DiagnosedModel
from layerlimits.results.answer_book import AnswerBook, BookAnswer, BookItem, BookTask

HOSTILE = (
    "<script>window.broken = 1</script><img src=x onerror='window.broken = 1'>",
    "</script></pre><h1>not a heading</h1>",
    "long " * 20_000,
    "\u05d0\u05d1\u05d2 \u202e reversed \u2066 isolated",
    "bell \x07 escape \x1b[31m null \x00 end",
    "lone \ud800 surrogate",
)


def hostile_book() -> AnswerBook:
    """Answers with HTML, scripts, 100,000 characters, right-to-left and control characters."""
    found = DiagnosedModel("base", "base", (), "b"), DiagnosedModel("reverse, 2 removed", "prune", (1, 2), "p")
    finetuned = DiagnosedModel("reverse, 2 removed, finetuned (lora)", "recover", (1, 2), "r", found[1].label)
    items = tuple(
        BookItem(f"item{place}", 0, f"question {place}: {text}", text, (
            BookAnswer(0, "the base answer is 7", "correct", 1.0, "7", ""),
            BookAnswer(1, text, "wrong", 0.0, text[:20], "differs"),
            BookAnswer(2, "the base answer is 8", "wrong", 0.0, "8", ""),
        ))
        for place, text in enumerate(HOSTILE)
    )  # fmt: skip
    scores = (BookAnswer(0, "good", "correct", 0.8, "", ""), BookAnswer(1, "bad", "correct", 0.25, "", ""))
    graded = BookItem("graded", 0, "summarize", "a summary", scores)
    tasks = (BookTask("arithmetic", "generation", False, items), BookTask("summaries", "generation", True, (graded,)))
    return AnswerBook((*found, finetuned), tasks)
