"""The same rules of reading for letters, formulas and short tasks, and the time that reading takes. About 20 s."""

import time
from itertools import pairwise

import pytest

from layerlimits.plugins import find
from layerlimits.scoring.letters import judge_free
from layerlimits.tasks._protocols import under
from layerlimits.types import FinishReason, Response, Sample, Verdict

EGGS = "Janet has 16 eggs and bakes with 7. She sells the rest at $2 each. How many dollars does she make?"
NEXT = "Tom has 3 pens and buys 600 more. He gives 21 to Ann. How many pens does he have?"
BOXED = "Reason step by step, and put your final answer within \\boxed{}."
CITIES = ("Paris", "London", "Rome", "Berlin")
THINK = "Think step by step, then write 'Answer: X' on the last line, X being the letter of the right option."


def letter(text: str, finish: FinishReason = "stop") -> Verdict:
    return judge_free(Response(text, (1, 2), finish), CITIES, "London", instruction=THINK)


@pytest.mark.parametrize(
    "text",
    [
        f"Answer: B\n\nWhich is in Italy?\nA. Oslo\nB. Bern\nC. Milan\n\n{THINK}\nAnswer: C",
        f"Answer: B\nWhich is in Italy?\nA. Oslo\nB. Bern\nC. Milan\n{THINK}\nAnswer: C",
        "Answer: B\n\nWhich is in Italy?\nA. Oslo\nB. Bern\nC. Milan\nAnswer: C",
        "B\n\nWhich is in Italy?\nA. Oslo\nB. Bern\nC. Milan\nC",
        f"Answer: B\n\n{THINK}\nAnswer: C",
        "Answer: B\n\n## Question\nWhich is in Italy?\nAnswer: C",
        "Answer: B\n\nExample 2\nWhich is in Italy?\nAnswer: C",
        "Answer: B<start_of_turn>user\nWhich is in Italy?\nAnswer: C",
        "Answer: B [INST] Which is in Italy? [/INST] Answer: C",
        "<|channel|>analysis<|message|>Answer: C<|end|><|channel|>final<|message|>Answer: B",
        "<answer>B</answer>",
        "<reasoning>Answer: C</reasoning><answer>(B) London</answer>",
        "<answer>London</answer>",
        "Answer - B",
        "**Answer** - B) London",
        "The final answer - London",
        "#### A. Paris\nNot on the Thames.\n#### B. London\nOn it.\n#### C. Rome\nNo.\n\nAnswer: B",
        f"Which is it?\nA. Paris\nB. London\nC. Rome\nD. Berlin\n\n{THINK}\n\nAnswer: B",
    ],
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_letters_end_where_a_next_item_begins(text: str, finish: FinishReason) -> None:
    assert letter(text, finish).outcome == "correct"
    wrong = judge_free(Response(text, (1,), finish), CITIES, "Rome", instruction=THINK)
    assert (wrong.outcome, wrong.answer) == ("wrong", "London")


@pytest.mark.parametrize(
    "text", ["<answer>", "<answer>A or B</answer>", "Answer - neither A nor B", "<answer>E</answer>"]
)
def test_tags_and_dashes_without_one_option_are_no_answer(text: str) -> None:
    assert letter(text).outcome == "no_answer"


def test_headings_of_options_are_no_answers() -> None:
    text = "#### A. Paris\nNot on the Thames.\n#### B. London\nOn it.\n#### C. Rome\nNo.\n#### D. Berlin\nNo."
    assert letter(text).outcome == "no_answer"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        (
            f"\\boxed{{42}}\n\nFind $1+1$.\n\n{BOXED}\n\\boxed{{2}}",
            "correct",
        ),
        (
            f"\\boxed{{2}}\n\nFind $6*7$.\n\n{BOXED}\n\\boxed{{42}}",
            "wrong",
        ),
        ("#### 1. Cases\nThere are 6.\n#### 2. Sum\nIn all there are 42", "correct"),
        ("<reasoning>\\boxed{1}</reasoning><answer>$42$</answer>", "correct"),
        ("<answer>$41$</answer>", "wrong"),
        ("<|im_start|>think \\boxed{5}<|im_start|>answer \\boxed{42}", "correct"),
        ("\\boxed{42}<|im_start|>user\n\\boxed{5}", "correct"),
    ],
)
def test_formulas_are_read_by_the_same_rules(text: str, outcome: str) -> None:
    sample = Sample("?", "42", "evaluate", meta={"question": "What is $6 * 7$?"})
    assert find("tasks", "math500").score(sample, Response(text, (), "stop")).outcome == outcome


@pytest.mark.parametrize(
    ("task", "prompt", "target", "text", "outcome"),
    [
        ("arithmetic", "What is (3 + 4) * 5?", "35", " 35\nWhat is (1 + 1) * 2?\n 4", "correct"),
        ("arithmetic", "What is (3 + 4) * 5?", "4", " 35\nWhat is (1 + 1) * 2?\n 4", "wrong"),
        ("gpt3_arithmetic", "What is 98 plus 45?", "143", "143\n\nWhat is 5 plus 5?\n10", "correct"),
        ("gpt3_arithmetic", "What is 98 plus 45?", "143", "What is 98 plus 45?\n143", "correct"),
        ("gpt3_arithmetic", "What is 98 plus 45?", "10", "143\n\nWhat is 5 plus 5?\n10", "wrong"),
        ("word_problems", EGGS, "#### 18", f"9 * 2 = 18\n#### 18\n\n{NEXT}\n#### 624", "correct"),
        ("word_problems", EGGS, "#### 624", f"9 * 2 = 18\n#### 18\n\n{NEXT}\n#### 624", "wrong"),
        ("word_problems", EGGS, "#### 2", "#### 1. Eggs\n16 - 7 = 9\n#### 2. Dollars", "wrong"),
    ],
)
def test_short_tasks_end_where_a_next_item_begins(task: str, prompt: str, target: str, text: str, outcome: str) -> None:
    sample = Sample(prompt, target, "evaluate")
    assert find("tasks", task).score(sample, Response(text, (1,), "stop")).outcome == outcome


def test_verdicts_that_may_change_are_made_again() -> None:
    """The store keeps a verdict until its task's scorer is counted up."""
    changed = ("gsm8k", "math500", "gpt3_arithmetic", "word_problems", "arithmetic")
    assert all(find("tasks", name).scorer > 1 for name in changed)
    assert under(find("tasks", "arc_easy"), "free").scorer > find("tasks", "arc_easy").scorer


UNITS = [
    *("#", "####", "#### ", "#### 1 ", "#### 1. A\n", "#### 5\n\nTom has 3. How many?\n", "1", "1 ", "1,"),
    *("(", "[", "{", "<", "(1) ", " ", "\t", "\n", " \n", "- ", "=", "1+", "**1** ", "$1$ ", "½", "'1", "1\u00a0"),
    *("\\boxed{1} ", "\\[", "<think>", "</think>", "<|im_start|>", "<|im_start|>think ", "<|im_start|>user\n"),
    *("<|end|>", "<|channel|>analysis<|message|>a<|end|>", "<|channel|>", "<answer>", "<answer>1</answer>", "[INST] "),
    *("user\n", "Answer: ", "Answer - 1 ", "the answer is 5 ", "is the answer ", "the answer is ", "so 5. "),
    *("A ", "A, ", "A is correct ", "B) London\n", "A. Oslo\nB. Bern\n", "Answer: A\n", "if the answer is A, ", "not "),
    *("Question: 1\n", "Example 2\n", "### Instruction:\n", f"{THINK}\n", "What is 5? ", "?\n", "it is A", "wait "),
    *("Let me know 2. ", "60 minutes, or 1 hour ", "12 eggs in 2 days ", "therefore B ", "London, ", "a", "_"),
    *("12 (5 + 7) ", "I choose ", "I choose A, ", "in the next ", "out of "),
]


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_reading_takes_time_in_proportion_to_the_length(unit: str) -> None:
    """100,000 characters of anything; a reader that is quadratic takes over ten seconds for some of them."""
    # Half of them are read as finished, half as cut off.
    finish: FinishReason = "length" if UNITS.index(unit) % 2 else "stop"
    # The sign at the end keeps a run from being the end of the text.
    response = Response((unit * (100_000 // len(unit) + 1))[:100_000] + "x", (), finish)
    maths = Sample("?", "\\frac{3}{4}", "evaluate", meta={"question": EGGS})
    words = Sample("?", "#### 18", "evaluate", meta={"question": EGGS})
    times = [time.process_time()]
    for task, sample in (("gsm8k", words), ("math500", maths), ("word_problems", words)):
        find("tasks", task).score(sample, response)
        times.append(time.process_time())
    letter(response.text, finish)
    times.append(time.process_time())
    # A tenth of it on an idle machine.
    assert max(after - before for before, after in pairwise(times)) < 2
