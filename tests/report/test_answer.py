"""The answer in words, at every end a search can have."""

from pathlib import Path

import pytest

from autoprune.domain.outcome import Outcome
from autoprune.report.answer import read_answer
from tests.report import fake_study as fake

BEST = fake.trial(
    7, 0.5, 0.7, latency=fake.latency(4.6), confirmed=fake.latency(4.62), final=fake.final(0.69)
)


def test_a_confirmed_plan_is_told_with_all_its_numbers(tmp_path: Path) -> None:
    records = [fake.dense(), BEST, fake.trial(8, 0.4, 0.5)]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished("trial 7")))
    assert answer.verdict == "met"
    assert answer.headline == (
        "Trial 7 runs in 4.62 ms (95 % interval 4.56 to 4.68), 1.80x faster than dense, with "
        "mAP50-95 0.700 on val (4.2 points below dense) and 865 k of 3.01 M parameters."
    )
    assert answer.details[0].startswith("Confirmed: ")
    assert answer.details[1] == "Its mAP50-95 on val: 0.700 after the short fine-tune (3 epochs)."
    assert answer.details[2] == (
        "On 200 images that the search never used (test) its mAP50-95 is 0.690, "
        "4.1 points below dense."
    )
    assert answer.details[3] == "The search ended: --trials 40 reached."


def test_without_a_second_measurement_it_says_unconfirmed(tmp_path: Path) -> None:
    alone = BEST.model_copy(update={"confirmed": None})
    answer = read_answer(
        fake.write_study(tmp_path, [fake.dense(), alone], fake.finished("trial 7"))
    )
    assert answer.details[0].startswith("Unconfirmed: ")


def test_a_second_measurement_beyond_the_budget_does_not_confirm(tmp_path: Path) -> None:
    slow = BEST.model_copy(update={"confirmed": fake.latency(4.98)})
    answer = read_answer(fake.write_study(tmp_path, [fake.dense(), slow], fake.finished("trial 7")))
    assert answer.details[0].startswith("Unconfirmed: ")
    assert "beyond 5.00 ms" in answer.details[0]


def test_an_accuracy_goal_is_confirmed_by_measuring_again(tmp_path: Path) -> None:
    content = fake.settings(asked={"goal": {"kind": "max_drop", "value": 5}}, budget_ms=None)
    ended = fake.finished("trial 7").model_copy(update={"budget_ms": None})
    answer = read_answer(fake.write_study(tmp_path, [fake.dense(), BEST], ended, content))
    assert answer.details[0].startswith("Confirmed: ")


def test_nothing_within_the_goal_names_the_nearest(tmp_path: Path) -> None:
    records = [fake.dense(), fake.trial(0, 0.8), fake.trial(1, 0.7)]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished(None, met=False)))
    assert answer.verdict == "not met"
    assert answer.headline.startswith("Nothing met the goal; nearest is trial 1, which runs in ")
    assert "not trained" in answer.headline


def test_the_searchs_own_nearest_miss_is_not_called_an_answer(tmp_path: Path) -> None:
    records = [fake.dense(), fake.trial(0, 0.8), fake.trial(1, 0.7)]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished("trial 0", met=False)))
    assert answer.verdict == "not met"
    assert "nearest is trial 0" in answer.headline


@pytest.mark.parametrize(
    ("found", "said"),
    [(0.52, "18.0 points below"), (0.71, "1.0 points above"), (None, None)],
)
def test_the_best_uniform_plan_within_the_budget_stands_beside_the_answer(
    tmp_path: Path, found: float | None, said: str | None
) -> None:
    records = [fake.dense(), BEST, fake.baseline("uniform-0.10", 0.9, 0.73)]
    records += [] if found is None else [fake.baseline("uniform-0.50", 0.5, found)]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished("trial 7")))
    sentences = [text for text in answer.details if "best uniform plan" in text]
    assert len(sentences) == (said is not None)
    if said is not None:
        assert sentences[0].startswith("The best uniform plan within the budget, uniform-0.50, ")
        assert sentences[0].endswith(f"on val, {said}.")


def test_a_uniform_plan_that_wins_says_that_the_search_did_not_beat_it(tmp_path: Path) -> None:
    uniform = fake.baseline("uniform-0.50", 0.5, 0.72)
    folder = fake.write_study(tmp_path, [fake.dense(), BEST, uniform], fake.finished(uniform.name))
    assert "It is a uniform plan: the search did not beat it." in read_answer(folder).details


def test_a_network_kept_as_pruned_is_told_as_such(tmp_path: Path) -> None:
    kept = fake.promoted(7, 0.556, 0.71, 0.7).model_copy(update={"untrained_kept": True})
    folder = fake.write_study(tmp_path, [fake.dense(), kept], fake.finished("trial 7"))
    folder.best_model.touch()
    answer = read_answer(folder)
    assert "with mAP50-95 0.710 on val" in answer.headline
    assert answer.weights == "as pruned, which no fine-tune made better"
    assert any(
        text.endswith("best.pt holds the pruned network as it was, which no fine-tune made better.")
        for text in answer.details
    )


def test_an_interrupted_search_tells_the_best_so_far(tmp_path: Path) -> None:
    records = [fake.dense(), fake.trial(0, 0.5, 0.6), fake.trial(1, 0.48, 0.66)]
    for outcome in (None, Outcome(status="running"), Outcome(status="interrupted")):
        answer = read_answer(fake.write_study(tmp_path, records, outcome))
        assert answer.verdict == "so far"
        assert answer.headline.startswith("So far: trial 1 runs in ")
        assert answer.details[0].startswith("Unconfirmed: ")
    named = Outcome(status="interrupted", best="trial 0", goal_met=True)
    assert read_answer(fake.write_study(tmp_path, records, named)).verdict == "so far"


def test_a_dense_model_within_the_budget_is_the_answer_itself(tmp_path: Path) -> None:
    answer = read_answer(fake.write_study(tmp_path, [fake.dense()], fake.finished("dense")))
    assert answer.verdict == "met"
    assert answer.headline.startswith("The dense model itself runs in 8.31 ms")
    assert "faster" not in answer.headline
    assert "below dense" not in answer.text()


def test_a_plan_slower_than_dense_is_not_called_faster(tmp_path: Path) -> None:
    records = [fake.dense(), fake.trial(0, 0.9, latency=fake.latency(10.0))]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished(None, met=False)))
    assert "1.20x slower than dense" in answer.headline


def test_a_study_without_measurements_says_so(tmp_path: Path) -> None:
    assert read_answer(fake.write_study(tmp_path, [])).verdict == "nothing yet"
    assert "No pruned model" in read_answer(fake.write_study(tmp_path, [fake.dense()])).headline


def test_better_weights_of_a_longer_fine_tune_are_the_answer_and_named(tmp_path: Path) -> None:
    answer = read_answer(fake.rung_study(tmp_path, kept=True))
    assert "mAP50-95 0.716 on val (2.6 points below dense)" in answer.headline
    assert answer.weights == "after the longer fine-tune, 3 + 9 epochs"
    assert answer.details[1] == (
        "Its mAP50-95 on val: 0.600 without training, 0.700 after the short fine-tune (3 epochs), "
        "0.716 after 9 more epochs. best.pt holds the weights of the longer fine-tune."
    )
    assert "its mAP50-95 is 0.701, 3.0 points below dense" in answer.details[2]


def test_a_longer_fine_tune_that_did_not_help_is_said_and_not_used(tmp_path: Path) -> None:
    answer = read_answer(fake.rung_study(tmp_path, kept=False))
    assert "mAP50-95 0.700 on val" in answer.headline
    assert answer.weights == "after the short fine-tune, 3 epochs"
    assert "0.688 after 9 more epochs. The longer fine-tune was no better" in answer.details[1]
    assert "best.pt holds the weights of the short fine-tune." in answer.details[1]
    assert "its mAP50-95 is 0.688" in answer.details[2]  # the short one's on the unused images


def test_a_fine_tune_cut_short_by_the_limit_says_so_and_what_to_do(tmp_path: Path) -> None:
    cut = fake.trial(0, 0.5, rungs=(fake.untrained(0.6), fake.rung(0.65, epochs=1)))
    records = [fake.dense(), cut]
    answer = read_answer(fake.write_study(tmp_path, records, fake.finished(cut.name)))
    assert answer.details[1].startswith(
        "Its mAP50-95 on val: 0.600 without training, 0.650 after the short fine-tune "
        "(1 of 3 epochs: a longer --timeout leaves time for all)."
    )


def test_best_pt_is_not_spoken_of_when_there_is_none(tmp_path: Path) -> None:
    folder = fake.rung_study(tmp_path)
    folder.best_model.unlink()
    assert "best.pt" not in read_answer(folder).text()


def test_a_search_stopped_before_any_fine_tune_tells_the_best_that_is_predicted_as_that(
    tmp_path: Path,
) -> None:
    records = [fake.dense(), fake.scored(0, 0.5, 0.72), fake.scored(1, 0.45, 0.7)]
    answer = read_answer(fake.write_study(tmp_path, records, Outcome(status="interrupted")))
    assert answer.verdict == "so far"
    assert answer.headline.startswith("So far: trial 0 is predicted to run in ")
    assert "with mAP50-95 0.720 on val without training" in answer.headline
    assert answer.details[0] == "Unconfirmed: its latency is a prediction; it was not measured."
    assert answer.weights == ""
    assert "2 plans scored without training, none fine-tuned yet." in answer.details
