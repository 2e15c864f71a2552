"""The CSV files: fixed columns, the records' own numbers to the last digit."""

import io
import json
from pathlib import Path

import pandas as pd

from autoprune.report.study import load_study
from autoprune.report.tables import as_csv, pareto_table, trials_table
from tests.report import fake_study as fake

# Readers' scripts name these: a change here is a change of the format.
HEADER = (
    "kind,name,number,state,on_front,chosen,params,macs,latency_ms,latency_low_ms,latency_high_ms,"
    "latency_p90_ms,latency_ratio,latency_ratio_low,latency_ratio_high,latency_steady,confirmed_ms,"
    "confirmed_low_ms,confirmed_high_ms,rung,epochs,images_seen,val_map50,val_map50_95,points_lost,"
    "earlier_rungs,final_split,final_map50,final_map50_95,failure,failure_detail,same_as,started,"
    "seconds,plan_file,predicted_ms,untrained_map50,untrained_map50_95,longer_epochs,"
    "longer_images_seen,longer_map50,longer_map50_95,longer_final_map50,longer_final_map50_95,"
    "kept_weights_rung,taken_from,fine_tuned_map50_95"
)


def test_the_columns_are_the_same_for_an_empty_and_a_full_study(tmp_path: Path) -> None:
    for folder in (fake.write_study(tmp_path / "a", []), fake.busy_study(tmp_path / "b")):
        study = load_study(folder)
        for table in (trials_table(study), pareto_table(study)):
            assert as_csv(table).splitlines()[0] == HEADER


def test_a_csv_read_back_holds_the_records_exact_numbers(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    rows = pd.read_csv(io.StringIO(as_csv(trials_table(study)))).set_index("name")
    assert list(rows.index) == [record.name for record in study.records]
    for record in study.records:
        row = rows.loc[record.name]
        assert record.size is not None
        assert record.latency is not None
        assert row["params"] == record.size.params
        assert row["latency_ms"] == record.latency.median_ms
        assert row["latency_high_ms"] == record.latency.high_ms
        assert row["state"] == record.state
        if record.rungs:
            assert row["val_map50_95"] == record.map50_95
            assert row["epochs"] == record.rungs[0].epochs
        else:
            assert pd.isna(row["val_map50_95"])
    assert rows["chosen"].sum() == 1
    assert rows.loc["trial 3", "failure"] == "not a number"


def test_whole_numbers_stay_whole_beside_empty_cells(tmp_path: Path) -> None:
    text = as_csv(trials_table(load_study(fake.busy_study(tmp_path / "busy"))))
    dense, baseline = text.splitlines()[1:3]
    assert dense.startswith("dense,dense,,complete,False,False,3011043,1310000000,8.31,")
    assert ",1,3,1800," in baseline


def test_the_pareto_table_is_the_front_alone_fastest_first(tmp_path: Path) -> None:
    study = load_study(fake.busy_study(tmp_path / "busy"))
    table = pareto_table(study)
    assert list(table["name"]) == [record.name for record in study.front]
    assert table["latency_ms"].is_monotonic_increasing
    assert table["on_front"].all()
    assert set(trials_table(study).query("on_front")["name"]) == set(table["name"])


def test_the_compared_columns_hold_one_rung_only_and_the_others_have_their_own(
    tmp_path: Path,
) -> None:
    rows = trials_table(load_study(fake.rung_study(tmp_path / "s"))).set_index("name")
    assert set(rows["rung"].dropna().drop(index="dense")) == {1}
    assert rows["val_map50_95"].notna().sum() == 1 + 2 + 5  # dense, baselines, promoted trials
    best = rows.loc["trial 0"]
    assert (best["untrained_map50_95"], best["val_map50_95"], best["longer_map50_95"]) == (
        0.6,
        0.7,
        0.716,
    )
    assert (best["epochs"], best["longer_epochs"], best["kept_weights_rung"]) == (3, 9, 2)
    assert (best["final_map50_95"], best["longer_final_map50_95"]) == (0.688, 0.701)
    (earlier,) = json.loads(best["earlier_rungs"])
    assert (earlier["rung"], earlier["metrics"]["map50_95"]) == (0, 0.6)


def test_a_trial_only_scored_has_no_measured_latency_and_no_trained_score(tmp_path: Path) -> None:
    rows = trials_table(load_study(fake.rung_study(tmp_path / "s"))).set_index("name")
    one = rows.loc["trial 20"]
    assert one["state"] == "scored"
    assert one["predicted_ms"] > 0
    assert one["untrained_map50_95"] > 0
    for column in ("latency_ms", "rung", "val_map50_95", "points_lost", "kept_weights_rung"):
        assert pd.isna(one[column]), column


def test_weights_kept_as_pruned_are_compared_on_their_own_score(tmp_path: Path) -> None:
    kept = fake.promoted(7, 0.556, 0.71, 0.7).model_copy(update={"untrained_kept": True})
    records = [fake.dense(), kept, fake.promoted(8, 0.5, 0.6, 0.705)]
    rows = trials_table(load_study(fake.write_study(tmp_path, records))).set_index("name")
    row = rows.loc["trial 7"]
    assert (row["rung"], row["val_map50_95"], row["fine_tuned_map50_95"]) == (0, 0.71, 0.7)
    assert row["on_front"], "0.71 is above trial 8's 0.705"
    assert pd.isna(rows.loc["trial 8", "fine_tuned_map50_95"])


def test_longer_weights_that_were_not_kept_have_no_final_score(tmp_path: Path) -> None:
    rows = trials_table(load_study(fake.rung_study(tmp_path / "s", kept=False))).set_index("name")
    best = rows.loc["trial 0"]
    assert best["longer_map50_95"] == 0.688
    assert pd.isna(best["longer_final_map50_95"])
    assert best["kept_weights_rung"] == 1


def test_text_with_commas_quotes_and_line_breaks_survives(tmp_path: Path) -> None:
    detail = 'a "quoted", odd\nmessage; ünï'
    folder = fake.write_study(tmp_path, [fake.failed(0, "exception", detail)])
    rows = pd.read_csv(io.StringIO(as_csv(trials_table(load_study(folder)))))
    assert rows.loc[0, "failure_detail"] == detail
