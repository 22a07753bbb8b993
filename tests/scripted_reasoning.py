"""A scripted reasoning model: it thinks before it answers, for as long as the script says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.types import Decoding, Response

# Generation prompts as those of Qwen3 (thinking can be switched off), of DeepSeek-R1 (the prompt opens the thought) and
# of GPT-OSS (channels).
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)
R1 = (
    "{% for m in messages %}<｜{{ m.role }}｜>{{ m.content.split('</think>')[-1] }}{% endfor %}<｜Assistant｜><think>\n"
)
GPT_OSS = (
    "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endfor %}<|start|>assistant"
    "{% if false %}<|channel|>analysis{% endif %}"
)
PLAIN_CHAT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|>"


def thinking_model(loaded: Loaded, template: str) -> Loaded:
    """The model with a chat template of a reasoning model."""
    loaded.tokenizer.chat_template = template
    return replace(loaded)


def scripted(
    loaded: Loaded,
    folder: Path,
    script: Callable[[str], str],
    options: ChatOptions = PLAIN,
    max_new_tokens: int | None = None,
) -> Evaluator:
    """An evaluator whose model writes what a script makes of the prompt, one token per character."""

    def answer(prompt: list[int]) -> Response:
        text = script(str(loaded.tokenizer.decode(prompt)))
        return Response(text, tuple(map(ord, text)), "stop")

    asked = AskOptions(template=options, decoding=Decoding(max_new_tokens=max_new_tokens))
    return Evaluator(loaded, Store(folder), asked, engine=ScriptedEngine(answer))
