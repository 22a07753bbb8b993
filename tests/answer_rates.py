r"""Error rates of scorers on answers labelled by readers: `PYTHONPATH=tests python tests/answer_rates.py DATA`.

Prints the tables of docs/evaluation.md. Each line of real_answers.jsonl has the hash of an item, the answer of a
trained model (docstrings, which repeat the benchmark, are replaced by `"..."`), the label that one reader gave it
without seeing a verdict, and, where the text states a number or formula, what the reader took it to be:

- `right`: the answer or program that a careful reader takes the text to give is right;
- `wrong`: it is not;
- `none`: the text gives none, or ends before it does;
- `doubtful`: careful readers could disagree; excluded from the rates and counted.

Labels of summaries are about their shape: `summary` if the text is a summary and nothing else, `more` if other text
surrounds one, `none` if there is none.
"""

import ast
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from answer_corpus import CASES
from lm_eval.api.metrics import exact_match_hf_evaluate
from lm_eval.filters.extraction import RegexFilter

from layerlimits.plugins import find
from layerlimits.scoring import sandbox
from layerlimits.tasks import judged
from layerlimits.types import Response, Sample, Verdict

Row = dict[str, Any]
LM_EVAL = Path(str(find_spec("lm_eval").origin)).parent / "tasks"  # type: ignore[union-attr]  # it is installed

Scored = list[bool]
Item = tuple[Sample, Row]
Scorer = Callable[[Sequence[Item]], Scored]


def lines(name: str) -> list[Row]:
    """The rows of a file beside this one."""
    return [json.loads(line) for line in Path(__file__).with_name(name).read_text().splitlines()]


ROWS = lines("real_answers.jsonl")


def earlier() -> list[Row]:
    """The answers of test_labelled_answers.py, whose labels another session gave."""
    return [
        row
        | {
            "label": "right" if row["label"]["outcome"] in ("right", "passed") else "wrong",
            "finish": "length" if row["verdict"][0] == "truncated" else "stop",
        }
        for row in lines("labelled_answers.jsonl")
    ]


def answered(rows: Sequence[Row], task: str, data: Path) -> list[Item]:
    """The rows of a task with their items, doubtful ones included."""
    samples = {sample.id: sample for sample in find("tasks", task).samples("evaluate", 10**6, data)}
    return [(samples[row["item"]], row) for row in rows if row["task"] == task]


def written(task: str) -> list[Item]:
    """The messy answers of answer_corpus.py, which no model gave."""
    items = []
    for case in CASES:
        if case.task == task:
            target = f"#### {case.gold}" if task == "gsm8k" else case.gold
            label = "right" if case.outcome == "correct" else "wrong"
            row = {"task": task, "text": case.response, "finish": case.finish, "label": label}
            items.append((Sample(case.question, target, "evaluate", meta={"question": case.question}), row))
    return items


def response(row: Row) -> Response:
    """The stored answer; its tokens are not kept."""
    return Response(row["text"], (), row["finish"])


def verdicts(items: Sequence[Item]) -> list[Verdict]:
    """Our verdicts on answers to one task."""
    task = find("tasks", items[0][1]["task"])
    return judged(task, [(sample, response(row)) for sample, row in items])


def flexible(items: Sequence[Item]) -> Scored:
    """Our score."""
    return [verdict.value == 1 for verdict in verdicts(items)]


def strict(items: Sequence[Item]) -> Scored:
    """Our score by the format that the prompt asks for."""
    return [verdict.strict == 1 for verdict in verdicts(items)]


def gold(sample: Sample) -> str:
    """The reference answer."""
    return sample.target.rpartition("####")[2].strip()


def lm_eval_filter(name: str) -> Scorer:
    """A filter of the harness's gsm8k with its exact match, up to the strings at which its generation stops."""
    config = yaml.safe_load((LM_EVAL / "gsm8k" / "gsm8k.yaml").read_text())
    steps = next(entry["filter"] for entry in config["filter_list"] if entry["name"] == name)
    arguments = {key: value for key, value in steps[0].items() if key != "function"}
    metric = {key: value for key, value in config["metric_list"][0].items() if key not in ("metric", "aggregation")}
    metric.pop("higher_is_better")

    def score(items: Sequence[Item]) -> Scored:
        texts = [until(row["text"], config["generation_kwargs"]["until"]) for _, row in items]
        picked = [chosen[0] for chosen in RegexFilter(**arguments).apply([[text] for text in texts], [])]
        golds = [f"#### {gold(sample)}" for sample, _ in items]
        return [
            exact_match_hf_evaluate([answer], [right], **metric)["exact_match"] == 1
            for answer, right in zip(picked, golds, strict=True)
        ]

    return score


def until(text: str, stops: Sequence[str]) -> str:
    """The text before the first of the strings."""
    return text[: min([place for stop in stops if (place := text.find(stop)) >= 0], default=len(text))]


def math_verify_alone(items: Sequence[Item]) -> Scored:
    r"""math-verify's own extraction and comparison, as lm-eval's minerva_math calls them."""
    from math_verify import parse, verify

    return [bool(verify(parse(f"$\\boxed{{{gold(sample)}}}$"), parse(row["text"]))) for sample, row in items]


def hendrycks(items: Sequence[Item]) -> Scored:
    """lm-eval's hendrycks_math: the text between the first and the last dollar sign."""
    process = functions_of("hendrycks_math")["process_results"]
    return [
        process({"solution": f"\\boxed{{{gold(sample)}}}"}, [row["text"]])["exact_match"] == 1 for sample, row in items
    ]


def humaneval_instruct(items: Sequence[Item]) -> Scored:
    """lm-eval's humaneval_instruct: the prompt and the answer up to the next fence."""
    build = functions_of("humaneval")["build_predictions_instruct"]
    codes = build([[in_first_fence(row["text"])] for _, row in items], [{"prompt": s.meta["prompt"]} for s, _ in items])
    return passed(items, [code[0] for code in codes])


def mbpp_instruct(items: Sequence[Item]) -> Scored:
    """lm-eval's mbpp_instruct: the first fenced block."""
    build = functions_of("mbpp")["build_predictions"]
    codes = build([[in_first_fence(row["text"])] for _, row in items], [{} for _ in items])
    return passed(items, [code[0] for code in codes])


def in_first_fence(text: str) -> str:
    """What follows the first opening fence: the harness's prompts end with one, and ours do not."""
    _, fence, after = text.partition("```")
    return after[after.find("\n") :] if fence else text


def passed(items: Sequence[Item], codes: Sequence[str]) -> Scored:
    """Whether programs pass the hidden tests."""
    programs = [
        sandbox.Program(code, sample.meta["test"], sample.meta["entry_point"])
        for code, (sample, _) in zip(codes, items, strict=True)
    ]
    return [outcome.passed for outcome in sandbox.run(programs)]


@cache
def functions_of(task: str) -> dict[str, Any]:
    """The functions of a task of the harness, without its imports: they download metrics, or need another antlr4."""
    with warnings.catch_warnings():
        # One of its strings has an invalid escape sequence.
        warnings.simplefilter("ignore")
        source = ast.parse((LM_EVAL / task / "utils.py").read_text())
    source.body = [node for node in source.body if isinstance(node, ast.FunctionDef)]
    names: dict[str, Any] = {name: __import__(name) for name in ("re", "typing")}
    names |= {"Union": names["typing"].Union, "Dict": dict, "List": list, "datasets": __import__("datasets")}
    exec(compile(source, task, "exec"), names)
    return names


SCORERS: dict[str, dict[str, Scorer]] = {
    **{
        task: {
            "ours, strict": strict,
            "ours": flexible,
            "lm-eval gsm8k, strict-match": lm_eval_filter("strict-match"),
            "lm-eval gsm8k, flexible-extract": lm_eval_filter("flexible-extract"),
            "math-verify alone": math_verify_alone,
        }
        for task in ("gsm8k", "gpt3_arithmetic")
    },
    "math500": {
        "ours, strict": strict,
        "ours": flexible,
        "lm-eval hendrycks_math": hendrycks,
        "math-verify alone (lm-eval minerva_math)": math_verify_alone,
    },
    "humanevalplus": {"ours": flexible, "lm-eval humaneval_instruct": humaneval_instruct},
    "mbppplus": {"ours": flexible, "lm-eval mbpp_instruct": mbpp_instruct},
}


def errors(scorer: Scorer, items: Sequence[Item]) -> tuple[list[str], list[str]]:
    """The texts that are scored as correct though they are not right, and those that are right though not so scored."""
    sure = [(sample, row) for sample, row in items if row["label"] != "doubtful"]
    scored = list(zip(sure, scorer(sure), strict=True))
    return (
        [row["text"] for (_, row), correct in scored if correct and row["label"] != "right"],
        [row["text"] for (_, row), correct in scored if not correct and row["label"] == "right"],
    )


def cell(scorer: Scorer, items: Sequence[Item]) -> str:
    """False positives and false negatives."""
    return " + ".join(str(len(texts)) for texts in errors(scorer, items)) if items else ""


def counts(items: Sequence[Item]) -> str:
    """How many answers are right, and how many are not."""
    labels = Counter(row["label"] for _, row in items)
    doubtful = f", {labels['doubtful']} doubtful" if labels["doubtful"] else ""
    not_right = len(items) - labels["right"] - labels["doubtful"]
    return f"{labels['right']} right, {not_right} not{doubtful}" if items else ""


def table(data: Path) -> str:
    """False positives + false negatives of every scorer on every task, in Markdown."""
    rows = ["| task | scorer | real answers | labelled earlier | written cases |", "|---|---|---|---|---|"]
    for task, scorers in SCORERS.items():
        sources = [answered(ROWS, task, data), answered(earlier(), task, data), written(task)]
        rows.append(f"| {task} | | {' | '.join(map(counts, sources))} |")
        for name, scorer in scorers.items():
            rows.append(f"| | {name} | {' | '.join(cell(scorer, items) for items in sources)} |")
    return "\n".join(rows)


def shapes() -> str:
    """What kind of text is scored as a summary, in Markdown."""
    shown = ["| model | layers removed | summary | more | none | doubtful |", "|---|---|---|---|---|---|"]
    rows = [row for row in ROWS if row["task"] == "xsum"]
    for model, removed in sorted({(row["model"], len(row["removed"])) for row in rows}):
        labels = Counter(row["label"] for row in rows if (row["model"], len(row["removed"])) == (model, removed))
        counts = " | ".join(str(labels[label]) for label in ("summary", "more", "none", "doubtful"))
        shown.append(f"| {model} | {removed} | {counts} |")
    return "\n".join(shown)


if __name__ == "__main__":
    print(table(Path(sys.argv[1])), shapes(), sep="\n\n")
