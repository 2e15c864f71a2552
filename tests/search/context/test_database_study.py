"""What workers share of a study: records, small files, weights; and what a database cannot do."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import optuna
import pytest

from autoprune.domain.record import TrialRecord
from autoprune.errors import ConfigError, StorageFailed, StudyMismatch
from autoprune.search.context.database import connect
from autoprune.search.context.fetching import fetch_study
from autoprune.search.context.greet import refuse_other_place
from autoprune.search.evaluate.storage import Storage
from autoprune.storage.database_url import DatabaseUrl
from autoprune.storage.study_folder import StudyFolder
from autoprune.storage.yaml_io import write_atomic
from tests.postgres import PASSWORD, Postgres
from tests.search.fakes import DENSE, FINGERPRINT, record, score, scored
from tests.search.shared import of_database, shared_folder


def _trained(number: int) -> TrialRecord:
    return record(f"trial {number}", 4.0, 0.5, number=number, predicted=4.0, untrained=0.3)


def test_what_one_worker_finds_every_other_has(tmp_path: Path, database: str) -> None:
    one, two = (shared_folder(tmp_path / name, database) for name in "ab")
    one.settings.parent.mkdir()
    one.settings.write_text("schema: 1\ndemo: true\n")
    one.send()
    baseline = record("uniform-0.30-r16", 4.0, 0.4, kind="baseline")
    one.save_record(baseline)
    one.save_record(scored(7, 4.0, 0.3))
    two.fetch()
    assert two.load_settings() == {"demo": True}
    assert two.baseline_records() == [baseline]
    two.save_record(_trained(7))  # by another worker than the one that scored it
    one.fetch()
    assert one.trial_records() == [_trained(7)]


@pytest.mark.parametrize("left", ["", "{"])
def test_a_copy_that_a_power_failure_spoiled_is_taken_again(
    tmp_path: Path, database: str, left: str
) -> None:
    one, two = (shared_folder(tmp_path / name, database) for name in "ab")
    one.save_record(_trained(0))
    two.fetch()
    (two.trial(0) / "record.json").write_text(left)
    again = shared_folder(tmp_path / "b", database)
    again.fetch()
    assert again.trial_records() == [_trained(0)]


def test_a_record_that_goes_further_is_never_lost(tmp_path: Path, database: str) -> None:
    """Killed after writing it and before sending it; and a stale worker that comes late."""
    one = shared_folder(tmp_path / "a", database)
    one.save_record(scored(0, 4.0, 0.3))
    _trained(0).save(one.trial(0) / "record.json")
    again = shared_folder(tmp_path / "a", database)
    again.fetch()
    assert again.trial_records() == [_trained(0)]
    other = shared_folder(tmp_path / "b", database)
    other.fetch()
    assert other.trial_records() == [_trained(0)], "sent at last"
    late = shared_folder(tmp_path / "c", database)
    late.save_record(scored(0, 4.0, 0.3))
    assert late.trial_records() == [_trained(0)]
    other.fetch()
    assert other.trial_records() == [_trained(0)]


EVIL = (
    "../evil.txt",
    "/tmp/evil.txt",
    "trials/0000/../../evil",
    "study.db",
    "best.pt",
    ".storage",
    "trials/0000/model.pt",
    "baselines/../../x/record.json",
    "trials/0000/record.json\n",
)


def test_a_database_writes_no_file_that_is_not_a_studys(tmp_path: Path, database: str) -> None:
    folder = shared_folder(tmp_path / "a" / "study", database)
    study = of_database(folder).study
    for name in EVIL:
        study.set_user_attr(f"file {name}", "evil")
    study.set_user_attr("file outcome.yaml", {"not": "text"})
    study.set_user_attr("file progress.jsonl", "x" * 32_000_001)
    folder.fetch()
    assert not list(tmp_path.rglob("*"))
    assert not Path("/tmp/evil.txt").exists()


def test_a_record_that_was_changed_in_the_database_is_named_and_left_out(
    tmp_path: Path, database: str
) -> None:
    one = shared_folder(tmp_path / "a", database)
    one.save_record(_trained(3))
    study = of_database(one).study
    key = "file trials/0003/record.json"
    study.set_user_attr(key, study.user_attrs[key].replace('"seconds": 1.0', '"seconds": 9.0'))
    two = shared_folder(tmp_path / "b", database)
    two.fetch()
    assert two.trial_records() == []
    (why,) = two.set_broken_aside()
    assert "checksum" in why


def test_a_folder_is_of_one_study(tmp_path: Path, database: str, postgres: Postgres) -> None:
    own = StudyFolder(tmp_path / "own")
    own.root.mkdir()
    own.database.touch()
    with pytest.raises(ConfigError, match=r"kept in its study\.db"):
        fetch_study(shared_folder(own.root, database))
    folder = shared_folder(tmp_path / "a", database)
    fetch_study(folder)
    with pytest.raises(ConfigError, match=r"kept in a database; give --storage or \$AUTOPRUNE"):
        fetch_study(StudyFolder(folder.root))
    fetch_study(shared_folder(folder.root, database))  # again
    elsewhere = postgres.database_with_tables()
    other = shared_folder(tmp_path / "b", elsewhere)
    fetch_study(other)
    other.settings.write_text("schema: 1\n")
    other.send()
    with pytest.raises(StudyMismatch, match="belongs to another study"):
        fetch_study(shared_folder(folder.root, elsewhere))


def test_workers_wait_for_a_server_that_restarts(
    tmp_path: Path, database: str, postgres: Postgres
) -> None:
    one, two = (shared_folder(tmp_path / name, database) for name in "ab")
    one.save_record(_trained(0))
    postgres.stop()
    back = threading.Timer(1.0, postgres.start)
    back.start()
    one.save_record(_trained(1))
    two.fetch()
    back.join()
    assert two.trial_records() == [_trained(0), _trained(1)]


def test_a_lost_database_is_filled_from_a_folder(
    tmp_path: Path, database: str, postgres: Postgres
) -> None:
    folder = shared_folder(tmp_path / "a", database)
    fetch_study(folder)
    folder.save_record(_trained(0))
    fresh = shared_folder(tmp_path / "a", postgres.database_with_tables())
    fetch_study(fresh)
    assert fresh.trial_records() == [_trained(0)]


def test_weights_come_to_whoever_needs_them(tmp_path: Path, database: str) -> None:
    kept = str(tmp_path / "kept")
    one = shared_folder(tmp_path / "a", database, kept)
    (file := one.trial(4) / "model.pt").parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    one.save_record(_trained(4))
    two = shared_folder(tmp_path / "b", database)  # is told where by the study
    assert of_database(two).note is None
    two.fetch()
    two.fetch_weights(_trained(4))
    assert (two.trial(4) / "model.pt").read_bytes() == b"weights"
    (artifact,) = (tmp_path / "kept").iterdir()
    artifact.write_bytes(b"changed")
    three = shared_folder(tmp_path / "c", database)
    with pytest.raises(StorageFailed, match="not as it was written"):
        three.fetch_weights(_trained(4))
    assert not list(three.root.rglob("model*"))
    two.drop_weights(_trained(4))
    assert list((tmp_path / "kept").iterdir()) == []
    three.fetch_weights(_trained(4))
    assert not list(three.root.rglob("model.pt"))


def test_weights_that_are_trained_on_replace_what_was_kept(tmp_path: Path, database: str) -> None:
    kept = tmp_path / "kept"
    one, two = (shared_folder(tmp_path / name, database, str(kept)) for name in "ab")
    file = one.trial(4) / "model.pt"
    file.parent.mkdir(parents=True)
    for content in (b"short", b"long"):
        file.write_bytes(content)
        one.send_result(_trained_saved(one))
        two.fetch_weights(_trained(4))
        assert (two.trial(4) / "model.pt").read_bytes() == content
    assert len(list(kept.iterdir())) == 1


def test_a_place_that_is_not_on_this_machine_is_said_and_not_made(
    tmp_path: Path, database: str
) -> None:
    kept = tmp_path / "kept"
    shared_folder(tmp_path / "a", database, str(kept))
    kept.rmdir()
    other = shared_folder(tmp_path / "b", database)
    assert "weights stay here" in str(of_database(other).note)
    other.save_record(_trained(4))
    other.fetch_weights(_trained(4))
    other.drop_weights(_trained(4))
    assert not kept.exists()


def test_a_worker_of_another_kind_of_machine_is_refused_in_an_empty_folder(
    tmp_path: Path, database: str
) -> None:
    shared_folder(tmp_path / "a", database).save_record(DENSE)
    other = shared_folder(tmp_path / "b", database)
    fetch_study(other)
    refuse_other_place(other.dense_record(), FINGERPRINT)
    with pytest.raises(StudyMismatch, match="another cpu"):
        refuse_other_place(
            other.dense_record(), FINGERPRINT.model_copy(update={"cpu": "another cpu"})
        )


def test_calibration_is_done_on_one_machine(tmp_path: Path, database: str) -> None:
    one, two = (shared_folder(tmp_path / name, database, str(tmp_path / "kept")) for name in "ab")
    here, there = (tmp_path / name / f"{'0a' * 12}.pt" for name in ("one", "two"))
    here.parent.mkdir()
    of_database(one).send_statistics(here)  # a disk that could not keep them
    here.write_bytes(b"statistics")
    of_database(one).send_statistics(here)
    of_database(two).fetch_statistics(there)
    assert there.read_bytes() == b"statistics"


def _trained_saved(folder: StudyFolder) -> TrialRecord:
    made = _trained(4)
    folder.save_record(made)
    return made


@pytest.mark.parametrize("text", ["", "gs://bucket", "s3://"])
def test_a_place_that_keeps_no_weights_is_refused(text: str) -> None:
    from autoprune.search.context.artifacts import artifact_place

    with pytest.raises(ConfigError, match="--artifacts: got"):
        artifact_place(text)


def test_what_is_wrong_with_a_database_is_one_line_without_the_password(
    postgres: Postgres, tmp_path: Path
) -> None:
    wrong = {
        postgres.url(password="geheim"): (ConfigError, "password authentication failed"),
        postgres.url("nowhere"): (ConfigError, '"nowhere" does not exist'),
        f"postgresql://a:geheim@/x?host={tmp_path}": (StorageFailed, "No such file"),
        "postgresql://a:geheim@127.0.0.1:1/x": (StorageFailed, "refused"),
    }
    for url, (kind, needle) in wrong.items():
        with pytest.raises(kind, match=needle) as caught:
            Storage.checked(url)
        said = str(caught.value)
        assert "\n" not in said
        assert "geheim" not in said
        assert PASSWORD not in said
    with pytest.raises(ConfigError, match=r"--study: got 'no', expected one in .*: none"):
        Storage.checked(postgres.new_database()).known_study("no")


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r'pip install "autoprune\[postgres\]"'):
        Storage.checked("postgresql://ada:geheim@host/x")


def test_what_the_driver_ignores_is_not_told(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = logging.getLogger("psycopg")
    monkeypatch.setattr(driver, "level", logging.NOTSET)
    connect(DatabaseUrl.of(database)).close()
    driver.warning("error ignored terminating a pipeline")
    assert not caplog.records
    driver.error("an error")
    assert caplog.messages == ["an error"]


def test_the_password_is_nowhere_in_a_study(tmp_path: Path, database: str) -> None:
    folder = shared_folder(tmp_path / "a", database, str(tmp_path / "kept"))
    fetch_study(folder)
    folder.save_record(_trained(0))
    texts = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    study = of_database(folder)
    texts += [json.dumps(study.study.user_attrs), repr(study.locks.url), repr(study.storage)]
    texts += [str(study.storage.__dict__), repr(folder)]
    assert len(texts) > 4
    for text in texts:
        assert PASSWORD not in text
        assert "s3cret" not in text


def test_scores_are_kept_as_they_were(tmp_path: Path, database: str) -> None:
    made = _trained(0).model_copy(update={"final": score(0.5).metrics})
    one, two = (shared_folder(tmp_path / name, database) for name in "ab")
    one.save_record(made)
    two.fetch()
    assert two.trial_records() == [made]


def test_the_plan_and_the_report_are_one_artifact_each(tmp_path: Path, database: str) -> None:
    store = tmp_path / "store"
    folder = shared_folder(tmp_path / "a", database, str(store))
    for plan in ("first", "second", "second"):
        write_atomic(folder.best_plan, plan)
        write_atomic(folder.report / "report.html", "<p>report</p>")
        folder.show()
    study = of_database(folder).study
    shown = optuna.artifacts.get_all_artifact_meta(study)
    assert {each.filename for each in shown} == {"best.yaml", "report.html"}
    content = {each.filename: (store / each.artifact_id).read_text() for each in shown}
    assert content == {"best.yaml": "second", "report.html": "<p>report</p>"}
    plain = shared_folder(tmp_path / "b", database)
    write_atomic(plain.best_plan, "third")
    plain.show()  # this worker was not told of the store, the study was
    assert len(list(store.iterdir())) == 2
