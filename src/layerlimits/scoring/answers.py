"""The part of a response that answers the question, without reasoning, other turns and items the model invents."""

from layerlimits.scoring.next_items import next_item
from layerlimits.scoring.transcript import OwnAnswer, own_answer
from layerlimits.types import Response

# Only the end of a long answer is read, since that is where the result is.
_LONGEST = 20_000


def clean(response: Response, *, question: str = "", instruction: str = "") -> OwnAnswer:
    """Remove reasoning, chat markers and any new questions that the model generates after its answer.

    Args:
        question: The question asked, so that the model repeating it is not mistaken for a new item.
        instruction: The text after the question in the prompt; a response that repeats it has begun a new item.

    Returns:
        The answer. `finished` is also True when something follows the answer.
    """
    own = own_answer(response)
    text = own.text.replace("\r\n", "\n").replace("\r", "\n")
    end = next_item(text, question, instruction)
    return OwnAnswer(text[:end][-_LONGEST:], own.finished or end is not None)
