"""How items are asked: protocols, examples, chat templates, draws; and what is kept and said of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import encode, room
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.results import warnings as cautions
from layerlimits.results.comparisons import task_score
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.tasks import choose
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Decoding, Response, Sample

Says = Callable[..., Any]
Refused = Callable[..., str]


def _one(name: str, **asked: Any) -> Any:
    (task,) = choose([name], **asked)
    return task


@pytest.mark.parametrize("name", ["facts_choice", "inference_choice", "arithmetic"])
def test_protocols_ask_the_same_items(name: str) -> None:
    ways = choose([name], ("likelihood", "one_token", "free"))
    assert [task.asked for task in ways] == ["likelihood", "one_token", "free"]
    ids = [[sample.id for sample in task.samples("evaluate", 30, None)] for task in ways]
    assert ids[0] == ids[1] == ids[2]
    questions = [[sample.question for sample in task.samples("evaluate", 30, None)] for task in ways]
    assert questions[0] == questions[1] == questions[2]
    for task in ways:
        sample = task.samples("evaluate", 1, None)[0]
        assert bool(sample.choices) == (task.kind == "choice")
        assert sample.target in sample.choices or not sample.choices


def test_a_task_under_its_own_protocol_is_the_task_itself() -> None:
    assert _one("facts_choice@likelihood") is facts_choice
    assert _one("facts@free") is facts
    assert _one("facts_choice@free").name == "facts_choice@free"


def test_what_the_model_writes_is_judged_by_the_protocol() -> None:
    free, token = choose(["facts_choice"], ("free", "one_token"))
    sample = free.samples("evaluate", 1, None)[0]
    assert free.score(sample, Response(f"It is {sample.target}.", (1,), "stop")).outcome == "correct"
    assert free.score(sample, Response("nowhere", (1,), "stop")).outcome == "wrong"
    assert free.score(sample, Response("", (), "stop")).outcome == "no_answer"
    assert token.max_new_tokens == 1
    assert token.score(sample, Response(sample.target[0], (1,), "length")).outcome == "correct"
    assert token.score(sample, Response("~", (1,), "length")).outcome == "wrong"


def test_letters_are_listed_for_a_benchmark_of_numbers(real_data: Path) -> None:
    task = _one("gpt3_arithmetic@one_token")
    samples = task.samples("evaluate", 20, real_data)
    assert len(samples) == 20
    for sample in samples:
        assert sample.origin is not None
        options = sample.meta["choices"]
        right = "ABCD"[options.index(sample.target)]
        assert sample.prompt.startswith(sample.origin.prompt)
        assert all(f"{letter}. {option}" in sample.prompt for letter, option in zip("ABCD", options, strict=True))
        assert task.score(sample, Response(right, (1,), "length")).outcome == "correct"
        assert sample.shown == right


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("facts@likelihood", "its items have no choices"),
        ("facts_choice@fre", "did you mean free"),
        ("facts_choice:shot=2", "invalid task 'facts_choice:shot=2'"),
        ("facts_choice:shots=two", "invalid task 'facts_choice:shots=two'"),
    ],
)
def test_a_way_of_asking_that_cannot_be_is_refused(spec: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        choose([spec])
    assert words in str(error.value)


def test_examples_come_from_the_train_split_and_stand_before_the_question(loaded: Loaded) -> None:
    task = _one("facts:shots=2")
    train = facts.samples("train", 2, None)
    for sample in task.samples("evaluate", 5, None):
        assert sample.shots == tuple((example.prompt, example.target) for example in train)
        assert [turn["role"] for turn in sample.messages] == ["user", "assistant"] * 2 + ["user"]
        assert sample.id in {example.id for example in facts.samples("evaluate", 5, None)}
    text = encode(loaded.tokenizer, sample, chat=False).text
    assert text == f"{train[0].prompt}\n{train[0].target}\n\n{train[1].prompt}\n{train[1].target}\n\n{sample.prompt}\n"
    assert task.shots == 2


def test_more_examples_than_there_are_is_refused() -> None:
    few = replace(facts, samples=lambda split, limit, data_dir: facts.samples(split, min(limit, 3), data_dir))
    from layerlimits.tasks._protocols import with_shots

    with pytest.raises(UserError, match="4 examples requested, but the train split of facts has 3"):
        with_shots(few, 4, None).samples("evaluate", 1, None)


def test_the_template_is_the_models_own_and_its_hash_is_kept(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 3, None)
    for chat in (None, False):
        evaluator = Evaluator(loaded, Store(tmp_path / str(chat)), AskOptions(chat=chat))
        evaluator.verdicts([()], facts, samples)
        rows = list(evaluator.store.export())
        assert len(rows) == 3
        for row in rows:
            prompt = evaluator.store.prompt(row["prompt"])
            assert prompt is not None
            assert (prompt["template"] is None) == (chat is False)
            assert (prompt["protocol"], prompt["shots"]) == ("free", 0)
            assert row["finish"] in ("stop", "length")
            assert any(sample.prompt in prompt["text"] for sample in samples)
    template = loaded.tokenizer.apply_chat_template(samples[0].messages, add_generation_prompt=True, tokenize=False)
    assert encode(loaded.tokenizer, samples[0]).text == template


def test_chat_without_a_template_is_refused(tiny: Path, tmp_path: Path, refused: Refused) -> None:
    import shutil

    bare = Path(shutil.copytree(tiny, tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    said = refused("evaluate", bare, "--tasks", "facts", "--limit", 2, "--chat")
    assert "has no chat template" in said
    assert load(str(bare)).tokenizer.chat_template is None


def test_a_prompt_that_does_not_fit_is_an_error_of_its_item_and_not_cut(loaded: Loaded, tmp_path: Path) -> None:
    positions = loaded.model.config.max_position_embeddings
    long = Sample("x" * (positions + 5), "red", "evaluate")
    tight = Sample("y" * (positions - 150), "red", "evaluate")
    short = facts.samples("evaluate", 2, None)
    asked: list[tuple[int, int]] = []

    class Watched(ScriptedEngine):
        def generate_batch(self, prompts: list[list[int]], max_new_tokens: int, *more: Any) -> list[Response]:
            asked.extend((len(prompt), max_new_tokens) for prompt in prompts)
            return super().generate_batch(prompts, max_new_tokens, *more)

    evaluator = Evaluator(loaded, Store(tmp_path), engine=Watched(lambda ids: Response("red", (1,), "stop")))
    roomy = replace(facts, max_new_tokens=400)
    (verdicts,) = evaluator.verdicts([()], roomy, [long, *short, tight])
    assert verdicts[0].outcome == "error"
    assert f"tokens, and the model has {positions} positions" in verdicts[0].why
    assert "error" not in [verdict.outcome for verdict in verdicts[1:]]
    assert [limit for length, limit in asked if length < 100] == [400, 400]
    assert [limit for length, limit in asked if length > 100] == [128]
    # Nothing of it is asked again, and a report counts it.
    (again,) = evaluator.verdicts([()], roomy, [long, *short, tight])
    assert again == verdicts
    assert len(asked) == 3
    record: Any = evaluator.described(roomy, [long, *short, tight])
    answers = StoredAnswers(evaluator.store, loaded.ref, [record])
    scored = task_score(answers, loaded.ref.fingerprint, record)
    assert scored is not None
    assert scored.refused == 1
    (said,) = cautions.refused([scored])
    assert said.startswith("1 of 4 prompts of facts exceed the model's context")


def test_room_depends_on_the_prompt_alone(loaded: Loaded) -> None:
    prompt = encode(loaded.tokenizer, facts.samples("evaluate", 1, None)[0])
    tokens = prompt.tokens
    assert room(prompt, 100, None) == room(prompt, 100, tokens + 100) == 100
    assert room(prompt, 100, tokens + 99) == 64
    assert room(prompt, 100, tokens + 63) is None
    assert room(prompt, 0, tokens) == 0
    assert room(prompt, 0, tokens - 1) is None


def test_draws_are_seeded_differ_and_resume(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 12, None)

    def texts(folder: str, decoding: Decoding) -> dict[tuple[str, str], str]:
        evaluator = Evaluator(loaded, Store(tmp_path / folder), AskOptions(batch_size=4, decoding=decoding))
        evaluator.verdicts([()], facts, samples)
        return {(row["sample"], row["decoding"]): row["text"] for row in evaluator.store.export()}

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    hot = Decoding(temperature=0.9, top_k=50, seed=1, samples=3)
    first = texts("a", hot)
    assert len(first) == 36
    assert first == texts("b", hot)
    killed = Evaluator(loaded, Store(tmp_path / "c"), AskOptions(batch_size=4, decoding=hot))
    with pytest.raises(KeyboardInterrupt):
        killed.verdicts([()], facts, samples, stop)
    assert len(list(Store(tmp_path / "c").export())) == 4
    assert first == texts("c", hot)
    assert first != texts("d", replace(hot, seed=2))
    by_draw = [[first[sample.id, hot.name(draw)] for sample in samples] for draw in range(3)]
    assert by_draw[0] != by_draw[1] != by_draw[2]


def test_drawing_leaves_the_random_state_alone(loaded: Loaded, tmp_path: Path) -> None:
    import torch

    before = torch.random.get_rng_state()
    evaluator = Evaluator(loaded, Store(tmp_path), AskOptions(decoding=Decoding(temperature=1.0)))
    evaluator.verdicts([()], facts, facts.samples("evaluate", 2, None))
    assert torch.equal(before, torch.random.get_rng_state())


def test_greedy_samples_that_would_all_be_the_same_are_refused(tiny: Path, refused: Refused) -> None:
    assert "would be identical" in refused("evaluate", tiny, "--tasks", "facts", "--samples", 3)
    assert "would be identical" in refused("study", tiny, "--tasks", "facts", "--samples", 3, "--plan")


def test_evaluate_gives_the_same_items_under_all_protocols(tiny: Path, says: Says) -> None:
    results = says(
        "evaluate", tiny, "--tasks", "facts_choice,arithmetic", "--protocol", "likelihood,one_token,free", "--limit", 12
    )
    assert set(results["scores"]) == {
        "facts_choice",
        "facts_choice@one_token",
        "facts_choice@free",
        "arithmetic",
        "arithmetic@likelihood",
        "arithmetic@one_token",
    }
    for name in ("facts_choice", "arithmetic"):
        ways = results["protocols"][name]
        assert set(ways) == {"likelihood", "one_token", "free", "recognition_only"}
        only = ways["recognition_only"]
        # An untaught model writes nothing right: all it gets right is recognized only.
        assert only["estimate"] == pytest.approx(ways["likelihood"])
        assert only["n"] == 12
    assert any("differ in protocol" in warning for warning in results["warnings"])
    assert any("n = 12 is too small to detect a 5-point difference" in warning for warning in results["warnings"])


def test_samples_widen_to_an_interval_over_items_and_draws(tiny: Path, says: Says, tmp_path: Path) -> None:
    asked = ("evaluate", tiny, "--tasks", "facts,facts_choice", "--limit", 10, "--temperature", 0.9, "--samples", 4)
    results = says(*asked, "--seed", 5, "--out", tmp_path / "run")
    assert results["scores"]["facts"]["draws"] == 4
    assert results["scores"]["facts"]["n"] == 10
    assert sum(results["scores"]["facts"]["outcomes"].values()) == 40
    # Likelihoods are not drawn.
    assert results["scores"]["facts_choice"]["draws"] == 1
    assert results == says(*asked, "--seed", 5, "--out", tmp_path / "run")


def test_the_whole_test_set_is_asked_in_the_order_of_its_file(
    tiny: Path, says: Says, real_data: Path, tmp_path: Path
) -> None:
    whole = _one("math500").samples.whole(real_data)
    assert len(whole) == 500 > len(_one("math500").samples("evaluate", 1000, real_data))
    asked = ("--tasks", "math500", "--data-dir", real_data, "--limit", 6, "--max-new-tokens", 4)
    says("evaluate", tiny, *asked, "--whole", "--out", tmp_path / "run")
    with Store(tmp_path / "run") as store:
        assert set(store.samples("math500")) == {sample.id for sample in whole[:6]}
    assert [sample.split for sample in _one("math500").samples("evaluate", 6, real_data)] == ["evaluate"] * 6


def test_a_task_without_a_file_has_no_whole_test_set(tiny: Path, refused: Refused) -> None:
    assert "facts has no whole test set" in refused("evaluate", tiny, "--tasks", "facts", "--whole")
