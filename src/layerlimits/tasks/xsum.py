"""XSum: one-sentence summaries of BBC articles (Narayan et al., arXiv 1808.08745), scored by ROUGE-L."""

from layerlimits.scoring import summaries as rouge
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks._data import Row
from layerlimits.types import Sample, Task

_PROMPT = "{document}\n\nSummarize the article above in one sentence."


def _sample(row: Row, file: str) -> Sample:
    document, summary = row["document"].strip(), row["summary"].strip()
    if not document or not summary:
        raise ValueError(f"{'summary' if document else 'document'} is empty")
    meta = {"question": document}
    return Sample(_PROMPT.format(document=document), summary, "evaluate", meta=meta, shown=summary)


xsum = Task(
    name="xsum",
    version=1,
    scorer=2,
    kind="generation",
    samples=Benchmark(
        folder="xsum",
        hub="EdinburghNLP/xsum",
        columns=("document", "summary"),
        question="document",
        sample=_sample,
    ),
    score=lambda sample, response: rouge.judge(response, sample.target),
    max_new_tokens=96,
    metric="ROUGE-L F1",
    summary="XSum, one-sentence summaries of news articles",
)
