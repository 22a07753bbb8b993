"""Models that reason before they answer: how they are recognized, and how many tokens they get.

A model reasons if its chat template knows the marks of reasoning (Qwen3, DeepSeek-R1, GPT-OSS, Magistral and others),
unless the prompt that it writes has closed the reasoning already, as with `enable_thinking=false`.
"""

from transformers import PreTrainedTokenizerBase

from layerlimits.chat import template_text
from layerlimits.evaluation.prompts import Prompt, encode
from layerlimits.scoring.transcript import closes_thought, marks_thought
from layerlimits.types import Response, Sample, Task

# Tokens that a reasoning model may write besides those of the task's own limit. arXiv 2602.01997 allows as many.
THINKING_TOKENS = 8192
_PROBE = Sample("What is 2 + 3?", "5", "evaluate")
_OPENER = "<think>"


def thinks(tokenizer: PreTrainedTokenizerBase, chat: bool | None = None) -> bool:
    """Whether a model reasons before it answers, as its chat template is rendered with its settings.

    Args:
        tokenizer: The tokenizer of the model.
        chat: Whether prompts go through the template; None: if there is one.

    Raises:
        UserError: The template cannot be rendered.
    """
    if chat is False or not marks_thought(template_text(tokenizer)):
        return False
    return not closes_thought(encode(tokenizer, _PROBE).text)


def token_limit(task: Task, max_new_tokens: int | None, *, thinking: bool) -> int:
    """Maximum number of tokens of an answer to a task; 0 if nothing is generated.

    Args:
        task: The task. Its protocol `one_token` has one token in any case.
        max_new_tokens: Replaces the task's own limit if not None.
        thinking: Whether the model reasons before it answers.
    """
    if not task.generates:
        return 0
    if task.asked == "one_token":
        return task.max_new_tokens
    if max_new_tokens is not None:
        return max_new_tokens
    return task.max_new_tokens + (THINKING_TOKENS if thinking and not task.exact_limit else 0)


def with_opened_thought(prompt: Prompt, response: Response) -> Response:
    """The response as scorers read it: with the mark of reasoning that its prompt has opened, if any."""
    if not prompt.opens_thought:
        return response
    return Response(_OPENER + response.text, response.tokens, response.finish, response.logprobs)
