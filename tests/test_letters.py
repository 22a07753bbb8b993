"""Letters of multiple choice: messy answers, each with its verdict and why. About 1 s."""

import time
from typing import NamedTuple

import pytest

from layerlimits.errors import UserError
from layerlimits.scoring.letters import judge_free, judge_letter, lettered
from layerlimits.types import FinishReason, Response

CITIES = ("Paris", "London", "Rome", "Berlin")
VITAMINS = ("vitamin D", "vitamin C", "iron", "zinc")
NUMBERS = ("4", "14", "-4", "4.5")
ANIMALS = ("a cat", "a dog", "a big dog", "an ox")
LETTERS = {"cities": CITIES, "vitamins": VITAMINS, "numbers": NUMBERS, "animals": ANIMALS}


class Case(NamedTuple):
    text: str
    outcome: str
    why: str
    strict: float = 0.0
    finish: FinishReason = "stop"
    options: str = "cities"


R, W, N, T = "correct", "wrong", "no_answer", "truncated"

# The second option of each set is the right one.
STATED = [
    Case("Answer: B", R, "the form asked for", 1.0),
    Case("London is on the Thames.\nAnswer: B", R, "after a reason", 1.0),
    Case("Answer: B.\n", R, "a full stop", 1.0),
    Case("Answer：B", R, "a full-width colon", 1.0),
    Case("Answer: C", W, "another one"),
    Case("Answer: B\n\nLondon is on the Thames.", R, "the form, but not at the end"),
    Case("**Answer: B**", R, "in bold"),
    Case("**Answer:** B", R, "the word in bold"),
    Case("Final answer: (B)", R, "in brackets"),
    Case("answer: b", R, "a small letter alone"),
    Case("The answer is (b).", R, "a small letter in brackets"),
    Case("Answer: b) London", R, "a small letter with a bracket"),
    Case("The answer is (B).", R, "in words"),
    Case("The correct answer is B", R, "in words"),
    Case("The correct answer is: **B) London**", R, "with its text"),
    Case("The best answer would be option B, since it is on the Thames.", R, "would be"),
    Case("The answer is B because A is in France.", R, "another letter in the reason"),
    Case("The answer is B, not A.", R, "another one denied"),
    Case("The answer is not A but B.", R, "another one denied first"),
    Case("The answer cannot be A.", N, "one denied alone"),
    Case("The answer isn't A.", N, "one denied alone"),
    Case("B is the answer.", R, "turned round"),
    Case("So option B is the correct answer.", R, "turned round"),
    Case("A is tempting, but B is correct.", R, "after what is tempting"),
    Case("A is tempting but B is the answer.", R, "the last before the verb"),
    Case("A is wrong. B is right.", R, "two short sentences"),
    Case("I would choose B.", R, "a choice"),
    Case("I'd go with (C).", W, "a choice"),
    Case("The right option is B: London.", R, "an option"),
    Case("\\boxed{B}", R, "boxed"),
    Case("So it is $\\boxed{\\text{B}}$.", R, "boxed as text"),
    Case("\\boxed{\\text{(B) London}}", R, "boxed with its text"),
    Case("\\boxed{London}", R, "the text boxed"),
    Case("#### B", R, "after hashes"),
    Case("**Answer**\n\nB", R, "under a heading"),
    Case("Answer: A\n\nAnswer: B", R, "the last of two", 1.0),
    Case("The answer is A. Wait, that is wrong: Berlin is in the east. So B.", R, "taken back"),
    Case("The answer is B. Wait, let me check the map. Yes, that's correct.", R, "a check that confirms"),
    Case("The answer is A.\nActually, the correct option is B.", R, "corrected"),
    Case("Answer: B\n\nExplanation: the other answers are A and C.", R, "others named after it"),
    Case("If the answer is A, Paris would be on the Thames, which it isn't. The answer is B.", R, "supposed before"),
    Case("If the answer is A, Paris would be on the Thames.", N, "only supposed"),
    Case("Is the answer A? No.", N, "only asked"),
    Case("The answer is A or B.", N, "two"),
    Case("The answer is either (B) or (C).", N, "two"),
    Case("Answer: A, B", N, "two", 0.0),
    Case("Answer: both A and B", N, "two"),
    Case("Answer: E", N, "a letter that is not listed"),
    Case("Answer: none of these", N, "none"),
    Case("Answer: London", R, "the text for the letter"),
    Case("The answer is london.", R, "the text, small"),
    Case("The answer is Rome, not London.", W, "the text of another"),
    Case("I believe it's B.", R, "it is"),
    Case("The answer is A... no wait, it's B.", R, "it is, later"),
    Case("Answer: B\nExplanation: it is Rome that lies in Italy.", R, "it is, but in words of a reason"),
    Case("Answer: <B>", R, "in pointed brackets"),
    Case("Answer: B/C", N, "two"),
    Case("The answer is A = 3.", N, "a variable"),
    Case("Answer: B?", N, "asked"),
    Case("The answer is Madrid.", N, "a text that is not listed"),
    Case("Answer: C. London", W, "the letter counts before the text"),
]

BARE = [
    Case("B", R, "a letter alone"),
    Case(" B\n", R, "with space"),
    Case("B.", R, "with a full stop"),
    Case("(B)", R, "in brackets"),
    Case("**B**", R, "in bold"),
    Case("B) London", R, "with its text"),
    Case("B. London", R, "with its text"),
    Case("B: London", R, "with its text"),
    Case("C. Rome", W, "another one"),
    Case("Option B", R, "an option"),
    Case("B because it is on the Thames.", R, "with a reason"),
    Case("It lies on the Thames.\n\n**B) London**", R, "bold at the end"),
    Case("It is on the Thames, so it must be B.", R, "concluded"),
    Case("A has no Thames. C has none either. Thus B.", R, "weighed, then concluded"),
    Case("A and C are wrong, so it is B.", R, "two denied, then concluded"),
    Case("A) wrong, it is in France\nB) on the Thames\nC) wrong, it is in Italy\nD) wrong too", R, "all others denied"),
    Case("A) could be. B) could be.", N, "weighed"),
    Case("Option A has a river. Option B has one, too.", N, "weighed"),
    Case("It is hard to say whether A or B.", N, "weighed"),
    Case("Neither A nor B.", N, "both denied"),
    Case("Options A and C are wrong. Option B has the Thames.", R, "two denied at once"),
    Case("It is not A or C. Option B has the Thames.", R, "two denied at once"),
    Case("The answer is B, right?", R, "stated, if not surely"),
    Case("A. Paris\nB. London\nC. Rome\nD. Berlin", N, "the list repeated"),
    Case("A. Paris\nB. London\nC. Rome\nD. Berlin\nAnswer: B", R, "the list repeated, then the answer", 1.0),
    Case("Answer choices:\nA. Paris\nB. London\nC. Rome\nD. Berlin", N, "the list under words like an answer's"),
    Case("London", R, "the text alone"),
    Case("London.", R, "the text alone"),
    Case("It is London.", R, "a sentence that ends in it"),
    Case("London is the city on the Thames.", R, "the only sentence begins with it"),
    Case("It is Rome.", W, "the text of another"),
    Case("It is not London.", N, "the text denied"),
    Case("It might be London or Paris.", N, "two texts"),
    Case("I visited London once. It was cold.", N, "the text in passing"),
    Case("A city on the Thames.", N, "an article"),
    Case("A city on the Thames is London.", R, "an article and the text"),
    Case("I think it is a hard question.", N, "no option"),
    Case("", N, "empty"),
    Case("I don't know.", N, "not known"),
    Case("Plan A failed, and x = B + 1.", N, "letters of other things"),
]

CUT = [
    Case("The Thames flows through", T, "cut before an answer", 0.0, "length"),
    Case("A has no Thames, so", T, "cut while weighing", 0.0, "length"),
    Case("B. London", T, "a bare form in a cut text may be a list's", 0.0, "length"),
    Case("The answer is (B). Since", R, "stated before the cut", 0.0, "length"),
    Case("Because of the Thames.\nAnswer: B", R, "cut right after the form", 1.0, "length"),
    Case("So \\boxed{B", T, "a box cut", 0.0, "length"),
    Case("<think>The answer is A. No, B", T, "cut in thought", 0.0, "length"),
    Case("<think>The answer is A.</think>Answer: B", R, "another thought", 1.0),
    Case("<think>The answer is B.</think>I can't say.", N, "only thought"),
    Case("Answer: B<|im_end|>\nAnswer: C", R, "after the end of the turn", 1.0),
    Case("Answer: B\n\nQuestion: Which is in Italy?\nA. Paris\nB. Rome\nAnswer: C", R, "a next question", 1.0),
    Case("B\n\nQuestion: Which is in Italy?\nAnswer: C", R, "a next question after a letter alone"),
    Case("Answer: B\n\nQ: 2 + 2?\nAnswer: A", R, "a next question, cut", 1.0, "length"),
    Case("Question: Which is on the Thames?\nA. Paris\nB. London\nAnswer: B", R, "the question repeated first", 1.0),
    Case("Answer: B\nUser: thanks\nAnswer: D", R, "a user made up", 1.0),
]

OTHER = [
    Case("The answer is zinc.", W, "a text", options="vitamins"),
    Case("The answer is vitamin C.", R, "a letter within a text", options="vitamins"),
    Case("The answer is (C), not vitamin C.", W, "a marked letter, and one within a text", options="vitamins"),
    Case("Vitamin D is what it lacks. Answer: B", R, "a text with a letter, then the letter", options="vitamins"),
    Case("Vitamin B helps.", N, "a letter of something else", options="vitamins"),
    Case("The answer is 14.", R, "a number as a whole", options="numbers"),
    Case("The answer is 4.", W, "a number as a whole", options="numbers"),
    Case("The answer is -4.", W, "with its sign", options="numbers"),
    Case("The answer is 4.5.", W, "with its decimals", options="numbers"),
    Case("The answer is 145.", N, "a longer number", options="numbers"),
    Case("The answer is A dog.", R, "an article that begins a text", options="animals"),
    Case("The answer is a dog.", R, "an article that begins a text", options="animals"),
    Case("The answer is a big dog.", W, "a longer text", options="animals"),
    Case("The answer is A.", W, "a letter and no article", options="animals"),
    Case("The answer is A because cats purr.", W, "a letter and no article", options="animals"),
    Case("The answer is A big cat.", N, "an article", options="cities"),
    Case("The animal is A dog.", R, "an article in a sentence that ends in a text", options="animals"),
]

CASES = [*STATED, *BARE, *CUT, *OTHER]


def test_the_cases_are_many_and_none_comes_twice() -> None:
    assert len(CASES) >= 100
    assert len({(case.text, case.options, case.finish) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.why}: {case.text[-40:]!r}")
def test_every_answer_in_words_gets_its_verdict(case: Case) -> None:
    options = LETTERS[case.options]
    verdict = judge_free(Response(case.text, (1, 2), case.finish), options, options[1])
    assert (verdict.outcome, verdict.strict) == (case.outcome, case.strict), verdict
    assert verdict.value == float(case.outcome == "correct")
    assert verdict.answer == options[1] if case.outcome == R else verdict.answer != options[1]
    assert bool(verdict.answer) == (case.outcome in (R, W))


@pytest.mark.parametrize("case", [case for case in STATED + BARE if case.outcome == R and "London" not in case.text])
def test_the_same_answer_is_wrong_where_another_option_is_right(case: Case) -> None:
    verdict = judge_free(Response(case.text, (1, 2), case.finish), CITIES, "Berlin")
    assert (verdict.outcome, verdict.value, verdict.strict, verdict.answer) == ("wrong", 0.0, 0.0, "London")
    assert verdict.why == "B, not D"


TOKENS = [
    Case("B", R, "the letter"),
    Case(" B", R, "a space before"),
    Case("B\n", R, "a line end"),
    Case("(B", R, "a bracket before"),
    Case("B.", R, "a full stop"),
    Case("B)", R, "a bracket after"),
    Case(" (B)", R, "in brackets"),
    Case("A", W, "another letter"),
    Case(" D.", W, "another letter"),
    Case("E", N, "not listed"),
    Case("b", N, "a small letter"),
    Case("Because", N, "a word that begins with the letter"),
    Case("B,", N, "another sign"),
    Case("BB", N, "twice"),
    Case("London", N, "the text"),
    Case("", N, "nothing"),
    Case("\n", N, "a line end alone"),
    Case("2", N, "a number"),
    Case("Ｂ", N, "another script's letter"),
]


@pytest.mark.parametrize("case", TOKENS, ids=lambda case: f"{case.why}: {case.text!r}")
@pytest.mark.parametrize("finish", ["length", "stop"])
def test_one_token_is_a_letter_or_no_answer(case: Case, finish: FinishReason) -> None:
    verdict = judge_letter(Response(case.text, (1,), finish), CITIES, "London")
    assert (verdict.outcome, verdict.value) == (case.outcome, float(case.outcome == R)), verdict
    assert verdict.strict is None
    assert (verdict.answer == "London") == (case.outcome == R)


def test_the_same_text_twice_is_right_both_times() -> None:
    options = ("yes", "no", "yes")
    assert judge_letter(Response("C", (1,), "length"), options, "yes").outcome == "correct"
    assert judge_free(Response("Answer: C", (1,), "stop"), options, "yes").strict == 1.0


def test_a_question_lists_its_options_one_a_line() -> None:
    assert lettered("Where?", ("Paris", "New\n York")) == "Where?\nA. Paris\nB. New York"
    many = [str(number) for number in range(26)]
    assert lettered("?", many).endswith("\nZ. 25")
    with pytest.raises(UserError, match="27 options, but there are only 26 letters"):
        lettered("?", [*many, "26"])


def test_the_last_of_26_letters_is_read() -> None:
    options = [f"thing {number}" for number in range(26)]
    assert judge_free(Response("The answer is (Z).", (1,), "stop"), options, "thing 25").outcome == "correct"
    assert judge_letter(Response("Z", (1,), "length"), options, "thing 25").outcome == "correct"
    assert judge_free(Response("I think it is hard.", (1,), "stop"), options, "thing 8").outcome == "no_answer"


@pytest.mark.parametrize(
    "text",
    [
        "(A) or (B), " * 3000,
        "Answer: A\nQuestion: ?\n" * 1000,
        "London " * 5000,
        "if the answer is A, " * 2000,
        "*" * 20_000,
    ],
)
def test_long_texts_are_read_quickly(text: str) -> None:
    began = time.process_time()
    judge_free(Response(text, (1,), "stop"), CITIES, "London")
    assert time.process_time() - began < 3
