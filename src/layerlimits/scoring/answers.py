"""The part of a response that answers the question: no thoughts, no other turns, no items that the model made up."""

from layerlimits.scoring.next_items import next_item
from layerlimits.scoring.transcript import Said, own_answer

# What is read: the end of an answer, where its result stands.
_LONGEST = 20_000


def clean(text: str, *, finished: bool, question: str = "", instruction: str = "") -> Said:
    """The text without thoughts, chat marks and questions that the model asked itself after its answer.

    Args:
        finished: the response was not cut off at the token limit.
        question: what was asked, so that the model's repetition of it is not taken for a next item.
        instruction: what the prompt says after the question; where a response repeats it, it has begun a next item.

    Returns:
        The answer; `finished` is also True where something follows it.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    said = own_answer(text, finished=finished)
    end = next_item(said.text, question, instruction)
    kept = said.text if end is None else said.text[:end]
    return Said(kept[-_LONGEST:], said.finished or end is not None)
