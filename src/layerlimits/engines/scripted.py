"""An engine that answers from a script, for tests that need no model."""

from collections.abc import Callable, Sequence

from layerlimits.engines import SingleModelEngine
from layerlimits.types import GREEDY, Continuation, Decoding, Response


class ScriptedEngine(SingleModelEngine):
    """Answers each prompt with a function of its token ids, and counts prompts and rows in `generated`."""

    def __init__(
        self,
        answer: Callable[[list[int]], Response],
        weigh: Callable[[list[int], list[int]], float] | None = None,
    ) -> None:
        super().__init__()
        self._answer, self._weigh = answer, weigh
        self.generated = 0

    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """The scripted responses, truncated to `max_new_tokens`."""
        self.generated += len(prompts)
        return [self._truncate(self._answer(prompt), max_new_tokens) for prompt in prompts]

    @staticmethod
    def _truncate(response: Response, max_new_tokens: int) -> Response:
        if len(response.tokens) <= max_new_tokens:
            return response
        return Response(response.text[:max_new_tokens], response.tokens[:max_new_tokens], "length")

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """The scripted log-probabilities; without a script, shorter continuations are more likely."""
        weigh = self._weigh or (lambda _, continuation: -float(len(continuation)))
        self.generated += len(rows)
        return [(weigh(context, continuation), False) for context, continuation in rows]


# The registry looks plug-ins up by the name of their file.
scripted = ScriptedEngine
