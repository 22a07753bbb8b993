r"""Messy answers with the verdict that each must get, and why. Written for these tests; none is a real model's output.
The answers in REAL follow real ones.
A case is (task, gold, response, flexible outcome, strict value, why), and where it matters how the text ended and
what was asked. Golds of gsm8k and gpt3_arithmetic are numbers, of math500 LaTeX.
"""

from typing import NamedTuple

from layerlimits.types import FinishReason


class Case(NamedTuple):
    task: str
    gold: str
    response: str
    outcome: str
    strict: float
    why: str
    finish: FinishReason = "stop"
    question: str = ""


Kind = tuple[str, float]  # flexible outcome and strict value
BOTH, LOOSE, WRONG, FORMAL = ("correct", 1.0), ("correct", 0.0), ("wrong", 0.0), ("wrong", 1.0)
NONE, CUT = ("no_answer", 0.0), ("truncated", 0.0)


def _gsm(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop", q: str = "") -> Case:
    return Case("gsm8k", gold, response, *kind, why, finish, q)


def _math(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop", q: str = "") -> Case:
    return Case("math500", gold, response, *kind, why, finish, q)


def _gpt3(gold: str, response: str, kind: Kind, why: str, finish: FinishReason = "stop") -> Case:
    return Case("gpt3_arithmetic", gold, response, *kind, why, finish)


FORMAT = [
    _gsm("18", "16 - 3 - 4 = 9\n9 * 2 = 18\n#### 18", BOTH, "the form asked for"),
    _gsm("18", "9 * 2 = 18\n####18", BOTH, "no space after the mark"),
    _gsm("18", "9 * 2 = 18\n#### 18.", BOTH, "a full stop ends the sentence"),
    _gsm("18", "9 * 2 = 18\n#### $18", BOTH, "a currency sign is no other answer"),
    _gsm("18", "9 * 2 = 18\n#### 18 dollars", BOTH, "a unit after the number"),
    _gsm("18", "9 * 2 = 18\n#### 18.00\n\n", BOTH, "zeros and blank lines"),
    _gsm("2125", "#### 2,125", BOTH, "thousands separated as in the gold answer"),
    _gsm("18", "#### **18**", LOOSE, "bold was not asked for"),
    _gsm("18", r"#### \boxed{18}", LOOSE, "two marks at once"),
    _gsm("18", "#### Answer: 18", LOOSE, "words after the mark"),
    _gsm("18", "#### 18\n\nI hope this helps!", LOOSE, "the mark does not end the text"),
    _gsm("18", "#### 9 * 2 = 18", LOOSE, "a calculation after the mark, with its result"),
    _gsm("18", "### 18", LOOSE, "three signs are a heading"),
    _gsm("18", "##### 18", LOOSE, "five signs are not the mark"),
    _gsm("18", "#### 19", WRONG, "another number"),
    _gsm("18", "9 * 2 = 18\n#### 9", WRONG, "the mark counts, not the calculation before it"),
    _gsm("18", "#### -18", WRONG, "the sign matters"),
    _gsm("18", "#### 180", WRONG, "a digit more"),
    _gsm("18", "#### 1", WRONG, "a digit less"),
    _gsm("18", "#### 1.8", WRONG, "the decimal point matters"),
    _gsm("18", "####", NONE, "a mark without a number, and none elsewhere"),
    _gsm("18", "#### eighteen", NONE, "number words are not read"),
    _gsm("18", "", NONE, "nothing"),
    _gsm("18", " \n\n ", NONE, "white space"),
    _gsm("18", "I am not able to solve this.", NONE, "a refusal"),
    _gsm("18", "The answer cannot be determined from the 3 facts given.", NONE, "a refusal with a number in it"),
]

WORDS = [
    _gsm("18", "The answer is 18.", LOOSE, "said in words"),
    _gsm("18", "the final answer is: $18", LOOSE, "with a colon and a currency sign"),
    _gsm("18", "**Answer:** 18 dollars a day", LOOSE, "a bold label"),
    _gsm("18", "**Final Answer**\n\n18", LOOSE, "a label on a line of its own"),
    _gsm("18", "### Answer\n$18$", LOOSE, "a heading"),
    _gsm("18", "Answer = 18", LOOSE, "an equals sign"),
    _gsm("18", "The answer to how much she makes is **$18** for 9 eggs.", LOOSE, "the bold number of the statement"),
    _gsm("18", "So the answer is 9 * 2 = 18 dollars.", LOOSE, "the result of the calculation"),
    _gsm("18", "The answer is $9 \\times 2 = 18$.", LOOSE, "the same in LaTeX"),
    _gsm("18", "The answer is 18, since 9 eggs cost 2 dollars each.", LOOSE, "the reason comes after the answer"),
    _gsm("18", "The answer is not 20 but 18.", LOOSE, "what is denied is no answer"),
    _gsm("18", "18 is the answer, after 3 steps.", LOOSE, "the answer before the words"),
    _gsm("18", "The final answer is $\\boxed{18}$. I hope it is correct.", LOOSE, "another benchmark's form"),
    _gsm("18", "答案是18。", LOOSE, "the words of another language"),
    _gsm("18", "La respuesta es 18.", LOOSE, "Spanish"),
    _gsm("18", "The answer is 20, since 9 * 2 = 18 and 18 + 2 = 20.", WRONG, "the statement counts, not the steps"),
    _gsm("18", "She does not make 18; the answer is 20.", WRONG, "the right number, denied"),
    _gsm("18", "<think>The answer is 20?</think>The answer is 18.", LOOSE, "a thought is no answer"),
    _gsm("18", "<think>The answer is 18?</think>The answer is 20.", WRONG, "a right thought is no answer either"),
    _gsm("18", "reasoning ... 20 ...</think>\n#### 18", BOTH, "a thought that the template opened"),
]

LATER = [
    _gsm("18", "#### 20\nWait, that is wrong. 9 * 2 = 18.\n#### 18", BOTH, "the last statement"),
    _gsm("18", "The answer is 20. Wait, I made a mistake: 9 * 2 = 18.", LOOSE, "taken back without the words"),
    _gsm("18", "#### 20\nActually, it should be 18.", LOOSE, "taken back after the mark"),
    _gsm("18", "\\boxed{20} Sorry, I miscounted, so she makes $18.", LOOSE, "taken back after a box"),
    _gsm("18", "#### 18\nWait, that is wrong. It is 20.", WRONG, "the right answer, taken back"),
    _gsm("18", "#### 18\nWait, let me check: 18 / 2 = 9. Yes, that is correct.", LOOSE, "checked and confirmed"),
    _gsm("18", "The answer is 18. To check: 18 / 2 = 9, and 9 + 7 = 16.", LOOSE, "a check is no correction"),
    _gsm("18", "The answer is 20. No: the answer is 18.", LOOSE, "said twice"),
    _gsm(
        "18",
        "#### 18\n\nQuestion: Tom has 3 pens and buys 2. How many?\nAnswer: 5\n#### 5",
        BOTH,
        "a question of its own",
    ),
    _gsm("18", "#### 20\n\nQ: What is 9 * 2?\nA: 18", WRONG, "the right number belongs to a question of its own"),
    _gsm("18", "#### 18<|im_end|>\n<|im_start|>user\nAnd 7?", BOTH, "the next turn of a chat"),
    _gsm("18", "Question: how much?\n9 * 2 = 18\n#### 18", BOTH, "the question repeated"),
]

UNMARKED = [
    _gsm("18", "So she makes $18 every day.", LOOSE, "a conclusion"),
    _gsm("18", "So she makes $18 by selling 9 eggs at $2 each.", LOOSE, "the number after the verb, not the last one"),
    _gsm("18", "She makes **$18** in each of the 7 days.", LOOSE, "the number in bold"),
    _gsm(
        "18",
        "Each day she makes **18 dollars**.\n\nAll 9 eggs were sold at the price of 2.",
        LOOSE,
        "the only bold one",
    ),
    _gsm("18", "**Step 1:** 16 - 7 = 9 eggs\n**Step 2:** 9 * 2 gives 18", LOOSE, "bold headings are no answers"),
    _gsm("18", "1. There are 9 eggs.\n2. They bring 18 dollars.\n3. Done.", LOOSE, "the number of a step is no answer"),
    _gsm("18", "16 - 3 - 4 = 9, and 9 * 2 = 18.", LOOSE, "after the last equals sign"),
    _gsm("18", "9 * 2 = <<9*2=18>>18", LOOSE, "the calculator marks of the training data"),
    _gsm("18", "x = 18", LOOSE, "an equation"),
    _gsm("18", "Total: 18 (for 9 * 2)", WRONG, "nothing tells which number is meant: the last one"),
    _gsm("18", "First 18, then 20.", WRONG, "the last number"),
    _gsm("18", "She makes 9 * 2 = 18 cents, so 0.18 dollars.", WRONG, "the last number"),
    _gsm("18", "Room Q18 has it on x18.", NONE, "parts of names are no numbers"),
    _gsm("18", "She is the 18th.", NONE, "an ordinal is no amount"),
]

NUMBERS = [
    _gsm("1234.5", "The answer is $1,234.50.", LOOSE, "currency, separator, cents"),
    _gsm("1234", "The answer is 1 234.", LOOSE, "a space between thousands"),
    _gsm("1234", "The answer is 1\u202f234 €.", LOOSE, "a narrow space, and the sign behind"),
    _gsm("1234", "The answer is 1'234.", LOOSE, "as the Swiss write"),
    _gsm("1234567", "The answer is 1.234.567.", LOOSE, "two full stops can only separate thousands"),
    _gsm("1234", "The answer is 1.234.", WRONG, "one full stop is a decimal point"),
    _gsm("1234.5", "The answer is 1.234,50.", LOOSE, "full stop and decimal comma"),
    _gsm("123456", "The answer is 1,23,456.", LOOSE, "lakhs"),
    _gsm("1450000", "The answer is 1.45 million dollars.", LOOSE, "a number word behind"),
    _gsm("1500", "The answer is 1.5e3.", LOOSE, "an exponent"),
    _gsm("1500", "The answer is 1.5 × 10³.", LOOSE, "a power of ten"),
    _gsm("2000", "The answer is 2k.", LOOSE, "a k for thousand"),
    _gsm("2", "The answer is 2 km.", LOOSE, "k of km is no thousand"),
    _gsm("0.75", "The answer is 3/4.", LOOSE, "a fraction"),
    _gsm("0.75", "The answer is $\\frac{3}{4}$.", LOOSE, "a fraction in LaTeX"),
    _gsm("1.5", "The answer is 1½.", LOOSE, "a fraction sign"),
    _gsm("1.5", "The answer is 1 1/2 cups.", LOOSE, "a mixed number"),
    _gsm("50", "The answer is 50%.", LOOSE, "per cent"),
    _gsm("50", "The answer is 50 percent.", LOOSE, "per cent in a word"),
    _gsm("90", "The answer is 90°.", LOOSE, "degrees"),
    _gsm("42", "الجواب هو ٤٢", LOOSE, "Arabic-Indic digits"),
    _gsm("42", "उत्तर है ४२", LOOSE, "Devanagari digits"),
    _gsm("42", "答案：４２", LOOSE, "full-width digits"),
    _gsm("-7", "The answer is −7.", LOOSE, "a minus sign"),
    _gsm("-7", "The answer is –7.", LOOSE, "an en dash"),
    _gsm("-7", "The answer is negative 7.", LOOSE, "the sign in a word"),
    _gsm("-7", "#### - 7", BOTH, "a space after the sign"),
    _gsm("7", "The difference is 12-7, the answer 5-10", WRONG, "a range has no negative end"),
    _gsm("5", "- apples: 3\n- 5 pears", LOOSE, "the dash of a list is no sign"),
    _gsm("-5", "- apples: 3\n- 5 pears", WRONG, "the dash of a list is no sign"),
    _gsm("18", "The area is 18 cm^2", LOOSE, "an exponent is no answer"),
    _gsm("18", "#### " + "1" * 5000, NONE, "five thousand digits are no number"),
    _gsm("3", "The answer is 3 hours.", LOOSE, "the unit asked for", "stop", "How many hours does it take?"),
    _gsm("3", "The answer is 3 minutes.", WRONG, "another unit", "stop", "How many hours does it take?"),
    _gsm("18", "#### 18 cents", WRONG, "another unit", "stop", "How much in dollars does she make?"),
    _gsm("14", "The answer is 14 hours a week.", LOOSE, "the unit of the number", "stop", "How many hours a week?"),
]

CUTS = [
    _gsm("18", "16 - 3 - 4 = 9, and 9 * 2 = 18", CUT, "cut before an answer", "length"),
    _gsm("18", "9 * 2 = 18\n#### 18", BOTH, "cut after the answer", "length"),
    _gsm("18", "The answer is 18, because the", LOOSE, "answered, then cut", "length"),
    _gsm("18", "#### 20\nNow", WRONG, "answered wrongly, then cut", "length"),
    _gsm("18", "\\boxed{18", CUT, "the box is open", "length"),
    _gsm("18", "\\boxed{18", LOOSE, "an open box in a finished text", "stop"),
    _gsm("1", "#### 1,", CUT, "cut within a number", "length"),
    _gsm("18", "<think>so the answer is 18", CUT, "still thinking", "length"),
    _gsm("18", "", CUT, "cut before the first word", "length"),
    _gsm("18", "#### 18\n\nQuestion: Tom has 3 pens", BOTH, "cut in a question of its own", "length"),
]

MATHS = [
    _math("42", r"So $x = \boxed{42}$.", BOTH, "the form asked for"),
    _math("42", "\\[\n\\boxed{42}\n\\]", BOTH, "displayed over three lines"),
    _math("42", r"\boxed{42}. I hope it helps.", BOTH, "in the last line"),
    _math("42", "\\boxed{42}\n\nI hope it helps.", LOOSE, "not in the last line"),
    _math("42", r"\boxed{41}", WRONG, "another number"),
    _math("42", r"\boxed{-42}", WRONG, "another sign"),
    _math("42", r"First \boxed{41}, no, \boxed{42}.", BOTH, "the last box"),
    _math("42", "\\boxed{41}\nWait, the answer is 42.", LOOSE, "taken back in words"),
    _math("42", "The answer is $42$.", LOOSE, "in words"),
    _math("42", "The answer is 42", LOOSE, "in words, without LaTeX"),
    _math("42", "#### 42", LOOSE, "another benchmark's mark"),
    _math("42", "Therefore $6 \\cdot 7 = 42$.", LOOSE, "the last formula"),
    _math("42", "It is 42.", LOOSE, "the last number"),
    _math("42", "", NONE, "nothing"),
    _math("42", "I cannot tell.", NONE, "no formula"),
    _math("42", r"So \boxed{4", CUT, "the box is open", "length"),
    _math("42", r"We get $6 \cdot 7 = 42$", CUT, "cut before an answer", "length"),
    _math("42", "\\boxed{42}\n\nCheck:", LOOSE, "answered, then cut", "length"),
    _math(r"\frac{14}{3}", r"\boxed{\dfrac{14}{3}}", BOTH, "another size of fraction"),
    _math(r"\frac{14}{3}", r"\boxed{\frac{28}{6}}", BOTH, "not in lowest terms, but equal"),
    _math(r"\frac{14}{3}", r"\boxed{14/3}", BOTH, "a slash"),
    _math(r"\frac{14}{3}", r"\boxed{4\frac{2}{3}}", BOTH, "a mixed number"),
    _math(r"\frac{14}{3}", r"\boxed{4.67}", WRONG, "rounded too far"),
    _math(r"\frac{14}{3}", r"\boxed{\frac{3}{14}}", WRONG, "upside down"),
    _math(r"\frac43", r"\boxed{\frac{4}{3}}", BOTH, "braces left out in the gold answer"),
    _math("1.25", r"\boxed{\frac54}", BOTH, "fraction for decimal number"),
    _math(".0000672", r"\boxed{6.72 \times 10^{-5}}", BOTH, "a power of ten"),
    _math(".0000672", r"\boxed{0.0000673}", WRONG, "equal to six decimal places only"),
    _math(r"3\sqrt{13}", r"\boxed{\sqrt{117}}", BOTH, "equal by algebra"),
    _math(r"3\sqrt{13}", "The answer is 3√13.", LOOSE, "a root sign"),
    _math(r"3\sqrt{13}", r"\boxed{3\sqrt{13} \approx 10.82}", BOTH, "with its approximation"),
    _math(r"3\sqrt{13}", r"\boxed{10.82}", WRONG, "the approximation alone"),
    _math(r"90^\circ", r"\boxed{90}", BOTH, "degrees left out"),
    _math(r"90^\circ", "The answer is 90 degrees.", LOOSE, "degrees as a word"),
    _math(r"90^\circ", r"\boxed{90 \text{ radians}}", WRONG, "another unit"),
    _math(r"5.4 \text{ cents}", r"\boxed{5.4}", BOTH, "the unit left out"),
    _math(r"5.4 \text{ cents}", r"\boxed{5.4 \text{ dollars}}", WRONG, "another unit"),
    _math(r"15\mbox{ cm}^2", r"\boxed{15 \text{ cm}^2}", BOTH, "the unit spelled otherwise"),
    _math(r"\$32,\!348", r"\boxed{\$32{,}348}", BOTH, "separators of LaTeX"),
    _math("52_8", r"\boxed{52_{8}}", BOTH, "the base in braces"),
    _math("52_8", r"\boxed{52}", BOTH, "the base left out, which the question names"),
    _math("52_8", r"\boxed{52_9}", WRONG, "another base"),
    _math("52_8", r"\boxed{42}", WRONG, "the same amount in base ten"),
    _math(r"\left( 3, \frac{\pi}{2} \right)", r"\boxed{(3, \pi/2)}", BOTH, "a pair"),
    _math(r"\left( 3, \frac{\pi}{2} \right)", r"\boxed{(\pi/2, 3)}", WRONG, "a pair has an order"),
    _math("1,-2", r"\boxed{-2, 1}", BOTH, "solutions have none"),
    _math("1,-2", r"\boxed{1} and \boxed{-2}", BOTH, "a box each"),
    _math("1,-2", "The answers are $-2$ and $1$.", LOOSE, "in words"),
    _math("1,-2", r"\boxed{1}", WRONG, "one of two solutions"),
    _math("1,-2", r"\boxed{1, 2}", WRONG, "a sign lost"),
    _math("(3,4]", r"\boxed{(3,4)}", WRONG, "the other bracket"),
    _math("(3,4]", r"\boxed{3 < x \le 4}", BOTH, "an inequality for an interval"),
    _math("x=5", r"\boxed{5}", BOTH, "the variable left out"),
    _math("5", r"\boxed{x = 5}", BOTH, "the variable added"),
    _math("x=5", r"\boxed{y=5}", WRONG, "another variable"),
    _math("y = 2x + 3", r"\boxed{y = 3 + 2x}", BOTH, "terms in another order"),
    _math("y = 2x + 3", r"\boxed{y = 2x - 3}", WRONG, "another sign"),
    _math("p - q", r"\boxed{q - p}", WRONG, "the wrong way round"),
    _math("6 - 5i", r"\boxed{-5i + 6}", BOTH, "complex numbers"),
    _math("6 - 5i", r"\boxed{6 + 5i}", WRONG, "the conjugate"),
    _math(r"1 \pm \sqrt{19}", r"\boxed{1 + \sqrt{19}, 1 - \sqrt{19}}", BOTH, "both written out"),
    _math(r"1 \pm \sqrt{19}", r"\boxed{1 + \sqrt{19}}", WRONG, "one of the two"),
    _math(
        r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}",
        r"\boxed{\begin{bmatrix} -7 \\ 16 \\ 5 \end{bmatrix}}",
        BOTH,
        "other brackets of a matrix",
    ),
    _math(
        r"\begin{pmatrix} -7 \\ 16 \\ 5 \end{pmatrix}",
        r"\boxed{\begin{pmatrix} -7 \\ 16 \\ -5 \end{pmatrix}}",
        WRONG,
        "one entry",
    ),
    _math(r"\text{Evelyn}", r"\boxed{\text{Evelyn}}", BOTH, "a word"),
    _math(r"\text{Evelyn}", r"\boxed{Evelyn}", BOTH, "a word without its command"),
    _math(r"\text{Evelyn}", "The answer is **Evelyn**.", LOOSE, "a word in bold"),
    _math(r"\text{Evelyn}", "Therefore, Evelyn has the greatest average speed.", LOOSE, "a word in a sentence"),
    _math(r"\text{Evelyn}", r"\boxed{\text{Carla}}", WRONG, "another word"),
    _math(r"\text{(C)}", r"\boxed{C}", BOTH, "a letter without brackets"),
    _math(r"\text{(C)}", "The answer is (C) 12.", LOOSE, "a letter with what it stands for"),
    _math(r"\text{(C)}", r"\boxed{\text{(B)}}", WRONG, "another letter"),
    _math("9", r"\boxed{9^{9^{9^9}}}", WRONG, "a power that no computer holds"),
    _math("5", r"\boxed{\frac{1}{0}}", WRONG, "no number"),
    _math("5", r"\boxed{}", NONE, "an empty box"),
    _math(r"\frac{1}{2}", r"\boxed{50\%}", BOTH, "per cent of a fraction"),
    _math("15", r"\boxed{15\%}", BOTH, "per cent where asked for", "stop", "What percent is that?"),
    _math("42", "The answer is $42$ when $x = 3$.", LOOSE, "a condition after the answer"),
    _math("2k", r"\boxed{2n}", WRONG, "another letter in the formula"),
]

ARITHMETIC = [
    _gpt3("143", " 143", BOTH, "as in the data"),
    _gpt3("143", "143.", BOTH, "a full stop"),
    _gpt3("143", "98 plus 45 is 143.", LOOSE, "a sentence"),
    _gpt3("143", "98 + 45 = 143", LOOSE, "an equation"),
    _gpt3("143", "**143**", LOOSE, "bold"),
    _gpt3("143", "143 is the sum of 98 and 45.", LOOSE, "the sum before its parts"),
    _gpt3("143", " 143\n\nQ: What is 5 plus 5?\n\nA: 10", BOTH, "a question of its own"),
    _gpt3("143", " 143\n\nQ: What is 5 plus", BOTH, "a question of its own, cut", "length"),
    _gpt3("143", "14", WRONG, "a digit less"),
    _gpt3("143", "134", WRONG, "digits swapped"),
    _gpt3("143", "-143", WRONG, "another sign"),
    _gpt3("-38097", "-38,097", BOTH, "thousands separated"),
    _gpt3("-38097", "−38097", BOTH, "a minus sign"),
    _gpt3("-38097", "40649 - 78746 = -38097", LOOSE, "an equation"),
    _gpt3("-38097", "38097", WRONG, "the sign lost"),
    _gpt3("-6", "minus 6", LOOSE, "the sign in a word"),
    _gpt3("34", "17 * 2 = 34", LOOSE, "an equation"),
    _gpt3("34", "the first step is 17", WRONG, "an intermediate result"),
    _gpt3("34", "The sum", CUT, "cut before a number", "length"),
    _gpt3("34", "no idea", NONE, "no number"),
]

REAL = [
    _gsm("86", "#### The score he needs to reach an average of 93 is 86.", LOOSE, "a sentence after the mark"),
    _gsm("4", "#### 12 miles - 8 miles per hour = 4 miles per hour", LOOSE, "a calculation with units after the mark"),
    _gsm("20", "#### 9 sheep + 11 sheep = 20 sheep", LOOSE, "a sum with units after the mark"),
    _gsm("10", "So it is 10 centimeters shorter from 1:00 PM to 5:00 PM.", LOOSE, "times of day are no amounts"),
    _gsm("5", "They meet at 5:00.", LOOSE, "a time of day where nothing else is given"),
    _gsm("860", "500 + 360 = 860 km\n\nSo it is \\(\\boxed{860", LOOSE, "the box repeats the result", "length"),
    _gsm("86", "500 + 360 = 860 km\n\nSo it is \\(\\boxed{86", CUT, "the box is cut within the result", "length"),
]

CASES = REAL + FORMAT + WORDS + LATER + UNMARKED + NUMBERS + CUTS + MATHS + ARITHMETIC
