"""Chat templates that write the date: with the function of transformers, and into a default as those of Llama 3 do."""

from datetime import date
from pathlib import Path

import pytest

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.evaluation import evaluator as evaluator_module
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.tasks.facts import facts
from layerlimits.types import Response

# Templates that write the date: with the function of transformers, and into a default as those of Llama 3 do.
_DATED = (
    "{{ strftime_now('%d %B %Y') }} {{ messages[-1]['content'] }}",
    "{% if not day is defined %}{% set day = strftime_now('%Y-%m-%d') %}{% endif %}{{ day }} {{ messages[0].content }}",
    "{% if strftime_now is defined %}{{ strftime_now('%H:%M:%S') }}{% endif %} {{ messages[-1]['content'] }}",
)


@pytest.mark.parametrize("template", _DATED)
def test_a_template_with_the_date_asks_nothing_again_on_the_next_day(
    template: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed, prompts = [], []
    for day in (date(2026, 11, 27), date(2026, 11, 28)):
        monkeypatch.setattr(evaluator_module, "today", lambda day=day: day)
        dated = load(str(tiny), device="cpu")
        dated.tokenizer.chat_template = template
        with Store(tmp_path / "run") as store:
            evaluator = Evaluator(dated, store, engine=ScriptedEngine(lambda ids: Response("red", (1,), "stop")))
            samples = facts.samples("evaluate", 3, None)
            evaluator.ask([()], [(facts, samples)])
            computed.append(evaluator.computed)
            prompts.append(evaluator.prompt(facts, samples[0]).text)
    assert computed == [3, 0]
    assert prompts[0] == prompts[1]
    # Another run folder starts on its own day.
    with Store(tmp_path / "other") as store:
        text = Evaluator(dated, store).prompt(facts, samples[0]).text
    assert (text == prompts[0]) == ("%H" in template)
