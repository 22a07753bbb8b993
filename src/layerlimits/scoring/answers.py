"""The part of a response that answers the question: no thoughts, no other turns, no items that the model made up."""

from layerlimits.scoring.next_items import next_item
from layerlimits.scoring.transcript import Said, own_answer
from layerlimits.types import Response

# What is read: the end of an answer, where its result stands.
_LONGEST = 20_000


def clean(response: Response, *, question: str = "", instruction: str = "") -> Said:
    """The text without thoughts, chat marks and questions that the model asked itself after its answer.

    Args:
        question: what was asked, so that the model's repetition of it is not taken for a next item.
        instruction: what the prompt says after the question; where a response repeats it, it has begun a next item.

    Returns:
        The answer; `finished` is also True where something follows it.
    """
    own = own_answer(response)
    text = own.text.replace("\r\n", "\n").replace("\r", "\n")
    end = next_item(text, question, instruction)
    return Said(text[:end][-_LONGEST:], own.finished or end is not None)
