"""How a chat template is rendered: the system turn before every conversation, and the arguments of the template."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerlimits.errors import UserError

# Parameters of `apply_chat_template` that have the same value for every prompt.
_RESERVED = frozenset(
    "conversation messages chat_template add_generation_prompt continue_final_message tokenize padding truncation "
    "max_length return_tensors return_dict return_assistant_tokens_mask tokenizer_kwargs processor_kwargs".split()
)


@dataclass(frozen=True)
class ChatOptions:
    """Settings of a model's chat template. They are part of every prompt, and so of the key of every response.

    Args:
        system: Text of the system turn before every conversation; none if empty.
        args: Arguments of the template, such as {"enable_thinking": False}; JSON values.

    Raises:
        UserError: The system prompt is not a text; or an argument is not a JSON value, has a name that templates cannot
            read, or is set for every prompt.

    Example:
        >>> ChatOptions(system="Answer in English.", args={"enable_thinking": False})
    """

    system: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.system, str):
            raise UserError(
                f"the system prompt is a {type(self.system).__name__}, not a text", "set system to a text (--system)"
            )
        if not isinstance(self.args, Mapping):
            raise UserError(
                f"chat_args is a {type(self.args).__name__}, not a table", 'write it as {"enable_thinking": false}'
            )
        for name, value in self.args.items():
            _check_argument(name, value)

    def __bool__(self) -> bool:
        return bool(self.system or self.args)

    def __str__(self) -> str:
        """The settings in words, for notes and errors; empty if there are none."""
        args = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in self.args.items())
        system = f"the system prompt {self.system!r}" if self.system else ""
        return " and ".join(part for part in (system, f"the template arguments {args}" if args else "") if part)


PLAIN = ChatOptions()


def _check_argument(name: object, value: object) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise UserError(f"{name!r} is not the name of a template argument", "write chat_args as enable_thinking=false")
    if name in _RESERVED:
        raise UserError(
            f"the template argument {name} cannot be set: it has the same value for every prompt",
            f"omit {name} from chat_args (--chat-args)",
        )
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise UserError(
            f"the template argument {name} is not a JSON value: {value!r}",
            "use true, false, a number, a text in quotes, a list or an object",
        ) from None
