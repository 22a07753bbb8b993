"""Summarize a short article in one sentence (the role of XSum), scored by ROUGE-L."""

from layerlimits.reference.world.articles import article
from layerlimits.scoring import summaries as rouge
from layerlimits.tasks._world import drawn
from layerlimits.types import Task

summaries = Task(
    name="summaries",
    version=1,
    scorer=2,
    kind="generation",
    samples=drawn(article),
    score=lambda sample, response: rouge.judge(response, sample.target),
    max_new_tokens=112,
    metric="ROUGE-L F1",
    summary="one-sentence summaries of short articles",
)
