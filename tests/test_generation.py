"""Answers depend on our settings and the checkpoint's end tokens, on nothing else a checkpoint says of generation."""

from typing import Any

import pytest
from transformers import GenerationConfig

from layerlimits.engines.hflm import HflmEngine
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.models.generation import end_tokens, own_settings_only
from layerlimits.models.load import Loaded
from layerlimits.recovery.rows import end_of_turn
from layerlimits.study.speed import timings
from layerlimits.types import GREEDY, Decoding

PROMPTS = [[1, 280, 281, 282], [1, 290]]
DRAWN = Decoding(temperature=0.8, top_p=0.95)
LEAKS: list[dict[str, Any]] = [
    {"repetition_penalty": 1.5},
    {"do_sample": True, "temperature": 5.0, "top_k": 3, "top_p": 0.2, "min_p": 0.3, "typical_p": 0.5},
    {"num_beams": 3, "num_return_sequences": 2},
    {"suppress_tokens": list(range(200)), "begin_suppress_tokens": list(range(200, 300))},
    {"max_time": 1e-9},
    {"stop_strings": ["a", "e", "1"]},
    {"max_new_tokens": 1, "max_length": 3, "min_new_tokens": 9, "min_length": 30},
    {"no_repeat_ngram_size": 1, "bad_words_ids": [[token] for token in range(5, 150)], "forced_eos_token_id": 9},
    {"length_penalty": 9.0, "exponential_decay_length_penalty": (1, 9.0), "sequence_bias": [[[290], 99.0]]},
    {"guidance_scale": 3.0, "epsilon_cutoff": 0.5, "eta_cutoff": 0.5, "renormalize_logits": True},
    {"penalty_alpha": 0.6, "prompt_lookup_num_tokens": 3, "cache_implementation": "static"},
]


@pytest.mark.parametrize("engine", [TransformersEngine, SweepEngine, HflmEngine])
@pytest.mark.parametrize("decoding", [GREEDY, DRAWN])
def test_no_setting_of_the_checkpoint_changes_an_answer(engine: type, decoding: Decoding, loaded: Loaded) -> None:
    (before,) = engine(loaded.model, loaded.tokenizer).generate([()], PROMPTS, 12, decoding, 5)
    assert max(len(answer.tokens) for answer in before) == 12
    for leak in LEAKS:
        loaded.model.generation_config = said = GenerationConfig(eos_token_id=4, **leak)
        asked = engine(loaded.model, loaded.tokenizer)
        assert asked.generate([()], PROMPTS, 12, decoding, 5) == [before], leak
        assert loaded.model.generation_config is said


def test_the_leaks_do_change_what_stock_transformers_generates(loaded: Loaded) -> None:
    # Otherwise the test above would show nothing.
    import torch

    ids = torch.tensor([PROMPTS[0]])
    settings = GenerationConfig(do_sample=False, max_new_tokens=12, eos_token_id=4, pad_token_id=0)
    usual = loaded.model.generate(ids, generation_config=settings).tolist()
    loaded.model.generation_config = GenerationConfig(repetition_penalty=1.5, suppress_tokens=list(range(5, 200)))
    assert loaded.model.generate(ids, generation_config=settings).tolist() != usual
    with own_settings_only(loaded.model):
        assert loaded.model.generate(ids, generation_config=settings).tolist() == usual


def test_speed_is_measured_without_them_too(loaded: Loaded) -> None:
    loaded.model.generation_config = GenerationConfig(num_beams=2, max_time=1e-9, stop_strings=["a"])
    (timing,) = timings(loaded.model, [()], 1)
    assert timing.tokens_per_s[0] > 0
    total = timing.prompts * timing.new_tokens / timing.tokens_per_s[0]
    assert 0 < timing.first_token_s[0] < total


def test_end_tokens_are_the_checkpoints_or_else_the_tokenizers(loaded: Loaded) -> None:
    settings = loaded.model.generation_config
    assert settings is not None
    for named, tokens in ((7, (7,)), ([9, 7, 9], (9, 7)), (0, (0,)), (None, (loaded.tokenizer.eos_token_id,))):
        settings.eos_token_id = named
        assert end_tokens(loaded.model, loaded.tokenizer) == tokens
        assert TransformersEngine(loaded.model, loaded.tokenizer)._ends == list(tokens)
    loaded.model.generation_config = None
    assert end_tokens(loaded.model, loaded.tokenizer) == (loaded.tokenizer.eos_token_id,)
    loaded.tokenizer.eos_token = None
    assert end_tokens(loaded.model, loaded.tokenizer) == ()
    with pytest.raises(UserError, match="no end-of-sequence token"):
        end_of_turn(loaded.model, loaded.tokenizer)


@pytest.mark.parametrize("named", ["</s>", [4, "</s>"], 4.0, True, -1, [[4]]])
def test_end_tokens_that_are_no_tokens_are_refused(named: Any, loaded: Loaded) -> None:
    settings = loaded.model.generation_config
    assert settings is not None
    settings.eos_token_id = named
    with pytest.raises(UserError, match=r"eos_token_id is .*, not a token id"):
        SweepEngine(loaded.model, loaded.tokenizer)
