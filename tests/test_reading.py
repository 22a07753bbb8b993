"""What ends an answer and what does not: turns, thoughts, headings, next items and asides. About 1 s.

Each rule has inputs of its kind, and controls: a wrong final number stays wrong, and what only looks alike is read.
"""

import pytest

from layerlimits.plugins import find
from layerlimits.scoring import units
from layerlimits.scoring.transcript import own_answer
from layerlimits.types import FinishReason, Response, Sample, Verdict

EGGS = "Janet has 16 eggs and bakes with 7. She sells the rest at $2 each. How many dollars does she make?"
INSTRUCTION = "Reason step by step, and put your final answer, a number alone, after '####' on the last line."
TIME = "A film lasts as long as 3 episodes of 20 minutes each. How many minutes does it last?"
NEXT = "Tom has 3 pens and buys 600 more. He gives 21 to Ann. How many pens does he have?"


def gsm8k(text: str, gold: str, finish: FinishReason = "stop", question: str = EGGS) -> Verdict:
    sample = Sample(f"{question}\n\n{INSTRUCTION}", f"#### {gold}", "evaluate", meta={"question": question})
    verdict = find("tasks", "gsm8k").score(sample, Response(text, (1, 2), finish))
    assert isinstance(verdict, Verdict)
    return verdict


NEXT_ITEMS = [
    f"9 * 60 = 540\n#### 540\n\n{NEXT}\n\n{INSTRUCTION}\n603 + 21 = 624\n#### 624",
    f"#### 540\n{NEXT}\n\n{INSTRUCTION}\n#### 624",
    f"#### 540\n\nTom has a shelf.\n\n{NEXT}\n\n{INSTRUCTION}\n\nThe answer is 624.",
    f"#### 540\n\n{NEXT}\n{INSTRUCTION.replace(' and put', chr(10) + 'and put')}\n#### 624",
    f"The answer is 540.\n\n{NEXT}\n\n{INSTRUCTION}\nThe answer is 624.",
    f"540\n\n{NEXT}\n\n{INSTRUCTION}\n624",
    f"#### 540\n\n{NEXT}\n603 + 21 = 624\n#### 624",
    f"Answer: 540\n{NEXT}\nAnswer: 624",
    f"#### 540\n\nAnn has 21 pens, and her sister has to wait for hers. {NEXT}\n#### 624",
    "#### 540\n\nAnn has three dozen pens, Bob has twice as many as she has, and Cid has none. "
    "How many pens do all of them have?\n#### 624",
    f"#### 540\n\n{EGGS}\n\n{INSTRUCTION}\n#### 624",
    f"#### 540\n<start_of_turn>user\n{NEXT}<end_of_turn>\n<start_of_turn>model\n#### 624",
    f"#### 540<|user|>\n{NEXT}\n<|assistant|>\n#### 624",
    f"#### 540 [INST] {NEXT} [/INST] #### 624",
    f"#### 540\n\n### Instruction:\n{NEXT}\n\n### Response:\n#### 624",
    f"#### 540\n\n## Question\n{NEXT}\n\n## Answer\n624",
    f"#### 540\n\nExample 2\n{NEXT}\n#### 624",
    f"#### 540\n\n**Problem 2**\n{NEXT}\n#### 624",
    f"#### 540\nuser\n{NEXT}\nassistant\n#### 624",
    f"#### 540<|start_header_id|>user<|end_header_id|>\n\n{NEXT}\n#### 624",
    f"#### 540<｜User｜>{NEXT}<｜Assistant｜>#### 624",
    f"540\n\nExample 2:\n{NEXT}\n624",
]


@pytest.mark.parametrize("text", NEXT_ITEMS)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_next_item_of_the_models_own_is_no_part_of_the_answer(text: str, finish: FinishReason) -> None:
    assert gsm8k(text, "540", finish).outcome == "correct"
    assert gsm8k(text, "624", finish).outcome == "wrong"


@pytest.mark.parametrize(
    "text",
    [
        f"{EGGS}\n\n{INSTRUCTION}\n\n9 * 2 = 18\n#### 18",
        f"There are 2 steps in it.\n\n## Question\n{EGGS}\n\n## Solution\n9 * 2 = 18\n#### 18",
        "#### 20\n\nWait, did I count the 7 eggs? Then how many are left: 9. So\n#### 18",
        "#### 20\n\nIs that right? 16 - 7 = 9 are left.\n\n#### 18",
        "She has 16 eggs.\n\nHow many are left?\n16 - 7 = 9\n\nHow many dollars does she make?\n9 * 2 = 18\n#### 18",
        "#### 9 eggs are left\n\nHow many dollars?\n9 * 2 = 18\n#### 18",
    ],
)
def test_what_only_looks_like_a_next_item_is_read(text: str) -> None:
    assert gsm8k(text, "18").outcome == "correct"
    assert gsm8k(text, "9").outcome == "wrong"


GLASSES = "#### 1. First glasses\n8 * 5 = 40\n#### 2. Second glasses\n8 * 3 = 24\n#### 3. Sum of both\n40 + 24 = 64\n"
HEADINGS = [
    f"{GLASSES}So he needs to pay 64 dollars.",
    GLASSES,
    f"{GLASSES}#### 64",
    "#### Step 1\n8 * 5 = 40\n#### Step 2\n8 * 3 = 24\n#### Step 3: the sum\n40 + 24 = 64",
    "#### **1. First glasses**\n8 * 5 = 40\n#### **2. Both**\n40 + 24 = 64",
    "#### First 8 glasses\n8 * 5 = 40\n#### Other 8 glasses\n8 * 3 = 24\n\nIn total, 40 + 24 = 64.",
    "#### 1) Glasses: 40 + 24 = 64",
    "#### For 8 glasses:\n8 * 5 + 8 * 3 = 64",
]


@pytest.mark.parametrize("text", HEADINGS)
def test_a_heading_is_no_final_answer(text: str) -> None:
    assert gsm8k(text, "64").outcome == "correct"
    for wrong in ("1", "2", "3", "8", "40"):
        assert gsm8k(text, wrong).outcome == "wrong", wrong


@pytest.mark.parametrize(
    "text",
    [
        "#### 2. Second",
        "#### 1. First glasses\n8 * 5 = 40\n#### 2. Second",
        "#### 1. First glasses\n8 * 5 = 40\n#### 2. Second glasses\n8 * 3",
        "#### Step 2",
        "#### 2) The second",
    ],
)
def test_an_unfinished_text_of_headings_has_no_answer_yet(text: str) -> None:
    assert gsm8k(text, "2", "length").outcome == "truncated"
    assert gsm8k(text, "2").outcome != "correct"


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ("9 * 2 = 18\n#### 18. She makes that every day.", "18"),
        ("#### 2. He needs 2 trips, since 8 / 4 = 2.", "2"),
        ("#### 18 dollars\n(9 * 2 = 18)", "18"),
        ("#### Total: 18\n\nShe sold 9 eggs at 2 dollars.", "18"),
        ("#### 7. Hope this helps", "7"),
        ("#### 1. I am sure.", "1"),
    ],
)
def test_a_number_before_words_is_an_answer_where_it_counts_no_steps(text: str, gold: str) -> None:
    assert gsm8k(text, gold).outcome == "correct"
    assert gsm8k(text, str(int(gold) + 1)).outcome == "wrong"


SECTIONS = [
    "<|im_start|>think ... maybe 16 - 7 = 9, so 5. <|im_start|>answer ... #### 18",
    "<|im_start|>think\n#### 9\n<|im_start|>answer\n9 * 2 = 18\n#### 18<|im_end|>",
    "<|channel|>analysis<|message|>Maybe #### 9<|end|><|start|>assistant<|channel|>final<|message|>#### 18<|return|>",
    "<|channel|>analysis<|message|>9<|end|><|channel|>commentary<|message|>5<|end|><|channel|>final<|message|>18",
    "analysisMaybe 9 or #### 9.assistantfinal#### 18",
    "<|start_header_id|>assistant<|end_header_id|>\n\n#### 18<|eot_id|>",
    "<reasoning>16 - 7 = 9</reasoning><answer>18</answer>",
    "<reasoning>5+7=99</reasoning>\n<answer>\n9 * 2 = 18\n</answer>\nLet me know if you'd like 2 more!",
    "<thought>#### 9</thought>#### 18",
    "[THINK]The answer is 9.[/THINK]The answer is 18.",
    "<|START_THINKING|>9<|END_THINKING|><|START_RESPONSE|>18<|END_RESPONSE|>",
    "<|im_start|>user\nWhat is 9 * 2? #### 9<|im_end|>\n<|im_start|>assistant\n#### 18<|im_end|>",
    "#### 18<|im_end|>\n<|im_start|>assistant\n<think>Or 9?</think>\n#### 9",
    "<answer>9</answer>\nSorry, the answer is 18.",
    "<answer>She sells 9 eggs, so she makes $18 a day.</answer>",
    "<think>9?</think>#### 18\n\nQuestion: and 7?\n<think>#### 3</think>\n#### 9",
]


@pytest.mark.parametrize("text", SECTIONS)
def test_thoughts_are_dropped_and_the_assistants_own_next_section_is_read(text: str) -> None:
    assert gsm8k(text, "18").outcome == "correct"
    assert gsm8k(text, "9").outcome == "wrong"


@pytest.mark.parametrize(
    "text",
    [
        "<|im_start|>think ... #### 18",
        "<|channel|>analysis<|message|>The answer is 18.",
        "<|channel|>analysis<|message|>The answer is 18.<|end|>",
        "analysisThe answer is 18.",
        "<reasoning>#### 18",
        "[THINK]\\boxed{18}",
        "<answer>1",
    ],
)
def test_a_thought_or_an_answer_that_breaks_off_holds_no_answer(text: str) -> None:
    assert gsm8k(text, "18", "length").outcome == "truncated"
    assert gsm8k(text, "1", "length").outcome == "truncated"


def test_a_turn_of_another_ends_the_answer_and_an_answers_own_section_does_not() -> None:
    assert own_answer(Response("5<|im_start|>tool\n7", (), "length")).finished
    assert not own_answer(Response("<|im_start|>answer 5", (), "length")).finished
    assert own_answer(Response("a<think>b</think>c", (), "stop")).text == "a\nc"


ASIDES = [
    ("The shop sold 12 apples in 2 days.", "12", "2", ""),
    ("They planted 12 trees over the next 3 weeks.", "12", "3", ""),
    ("She has 12 of the 20 eggs.", "12", "20", ""),
    ("She ate 12 out of 20.", "12", "20", ""),
    ("12 (5 + 7)", "12", "7", ""),
    ("She has 12 eggs (3 * 4).", "12", "4", ""),
    ("12 (5 + 7 = 12)", "12", "7", ""),
    ("It lasts 60 minutes, or 1 hour.", "60", "1", TIME),
    ("It lasts 1 hour, or 60 minutes.", "60", "1", TIME),
    ("It lasts 60 minutes (1 hour).", "60", "1", TIME),
    ("The answer is 1 hour (60 minutes).", "60", "1", TIME),
    ("#### 1 hour = 60 minutes", "60", "1", TIME),
    ("It lasts 60 minutes, or 1 hour.", "1", "60", "How many hours does it last?"),
    ("12\n\nLet me know if you'd like 2 more examples!", "12", "2", ""),
    ("She makes 12 dollars. Would you like 2 more examples?", "12", "2", ""),
    ("12\n\nIf you need 3 more problems, feel free to ask.", "12", "3", ""),
    ("12\nI hope this helps! I gave it 2 tries.", "12", "2", ""),
]


@pytest.mark.parametrize(("text", "gold", "wrong", "question"), ASIDES)
def test_what_stands_beside_the_answer_is_not_the_answer(text: str, gold: str, wrong: str, question: str) -> None:
    assert gsm8k(text, gold, question=question).outcome == "correct"
    assert gsm8k(text, wrong, question=question).outcome == "wrong"


@pytest.mark.parametrize(
    ("text", "gold", "wrong", "question"),
    [
        ("Janet sells 9 eggs for 18 dollars.", "18", "9", ""),
        ("He works 3 hours a day for 12 days.", "12", "3", "For how many days does he work?"),
        ("He saved 20 dollars in 12 weeks.", "12", "20", "How many weeks did it take?"),
        ("First 18, then in 20.", "20", "18", ""),
        ("It lasts 60 minutes, or 2 hours.", "2", "60", "How many hours does it last?"),
        ("It lasts 2 hours, or 60 minutes.", "60", "2", TIME),
        ("If you have 16 eggs and eat 7, you have 9.", "9", "16", ""),
        ("2 (5 + 7) = 24", "24", "2", ""),
        ("2 + (5 + 7)", "7", "2", ""),
        ("Let me know if 18 is right.", "18", "1", ""),
        ("It lasts 60 minutes.\nSo 1 hour.", "1", "60", "How many hours does it last?"),
    ],
)
def test_what_only_looks_like_an_aside_is_read(text: str, gold: str, wrong: str, question: str) -> None:
    assert gsm8k(text, gold, question=question).outcome == "correct"
    assert gsm8k(text, wrong, question=question).outcome == "wrong"


def test_an_hour_is_no_answer_where_minutes_are_asked_for_and_none_are_given() -> None:
    assert gsm8k("It lasts 1 hour.", "60", question=TIME).outcome == "wrong"
    assert gsm8k("It lasts 2 hours, or 1 day.", "2", question=TIME).outcome == "wrong"


def test_ratios_of_units() -> None:
    assert units.ratio("hours", "minutes") == 60
    assert units.ratio("year", "months") == 12
    assert units.ratio("feet", "inches") == 12
    assert units.ratio("cups", "gallon") is not None
    assert units.ratio("month", "days") is None
    assert units.ratio("$", "€") is None
    assert units.ratio("hours", "apples") is None
