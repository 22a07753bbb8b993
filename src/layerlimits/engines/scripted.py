"""An engine that answers from a script: tests of everything behind the model need no model."""

from collections.abc import Callable

from layerlimits.types import Response


class scripted:  # noqa: N801  # a plug-in is named like its file
    """Answers each prompt by a function of its token ids, and counts the calls."""

    def __init__(
        self,
        answer: Callable[[list[int]], Response],
        weigh: Callable[[list[int], list[list[int]]], tuple[float, ...]] | None = None,
    ) -> None:
        self._answer, self._weigh = answer, weigh
        self.generated = 0

    def generate(self, prompts: list[list[int]], max_new_tokens: int) -> list[Response]:
        """The scripted responses, cut at `max_new_tokens`."""
        self.generated += len(prompts)
        return [self._cut(self._answer(prompt), max_new_tokens) for prompt in prompts]

    @staticmethod
    def _cut(response: Response, most: int) -> Response:
        if len(response.tokens) <= most:
            return response
        return Response(response.text[:most], response.tokens[:most], "length")

    def choose(self, prompts: list[list[int]], choices: list[list[list[int]]]) -> list[Response]:
        """The scripted log-probabilities; shorter choices are likelier where there is no script."""
        weigh = self._weigh or (lambda _, options: tuple(-float(len(option)) for option in options))
        self.generated += len(prompts)
        return [
            Response("", (), "likelihood", weigh(prompt, options))
            for prompt, options in zip(prompts, choices, strict=True)
        ]
