"""The rows of docs/faults.md: which test injects a fault, which script takes its figure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One fault.

    Attributes:
        name: "F1".
        fault: What is injected.
        happens: What happens then.
        tests: Each `file::test`, or a file, below tests/; they run with every change.
        scripts: Names of `python -m benchmarks.faults`, whose figures the page shows.
        elsewhere: Other programs that inject it, and their figure, in words.
        missing: What is not shown, a sentence; empty where all is.
    """

    name: str
    fault: str
    happens: str
    tests: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    elsewhere: str = ""
    missing: str = ""


_EVALUATE = "search/evaluate/"
_TRIALS = f"{_EVALUATE}test_trials.py::"
_PROCESSES = f"{_EVALUATE}test_processes.py::"
_SHARED = f"{_EVALUATE}test_shared_trials.py::"
_DATABASE = "search/context/test_database_study.py::"

ROWS = (
    Row(
        "F1",
        "SIGKILL of the search at random points",
        "the same command goes on; a finished trial is never lost or made again",
        (
            f"{_TRIALS}test_a_killed_search_loses_no_finished_trial",
            f"{_TRIALS}test_a_record_written_before_the_kill_is_told_without_a_second_evaluation",
        ),
        ("kills", "litter"),
    ),
    Row(
        "F2",
        "SIGKILL of one worker of several",
        "it is replaced at once; its plan is tried once more; a record that it wrote counts",
        (
            f"{_PROCESSES}test_a_worker_that_dies_is_replaced_until_its_candidate_is_given_up",
            f"{_PROCESSES}test_a_record_written_before_the_death_is_not_made_again",
            f"{_SHARED}test_a_plan_that_kills_workers_on_two_machines_is_given_up",
            f"{_SHARED}test_workers_in_two_folders_share_a_study_and_one_that_is_killed_is_replaced",
            "search/context/test_advisory_locks.py::test_a_killed_holder_holds_nothing",
        ),
        ("limits", "soak"),
        missing="how soon a machine that vanishes is noticed (TCP keepalives, 30 s)",
    ),
    Row(
        "F3",
        "Ctrl-C, SIGTERM",
        "the search ends with 130, its processes are gone, what is finished is reported",
        (
            f"{_EVALUATE}test_processes_end.py::test_no_worker_outlives_its_search",
            "cli/test_ending.py::test_an_interrupted_search_tells_the_best_so_far_and_where_it_is",
            "cli/test_exit_codes.py::test_an_interrupt_after_the_end_disturbs_nothing",
        ),
        ("signals",),
    ),
    Row(
        "F4",
        "killed while writing any file of a study",
        "the old file or the new one; what the writer had begun is removed later",
        (
            "storage/test_yaml_io.py::test_a_writer_killed_at_any_moment_leaves_one_whole_file",
            "storage/test_study_folder.py::test_what_killed_work_left_goes_where_nobody_works",
            "domain/test_progress.py::test_a_line_torn_by_a_kill_spoils_neither_those_before_nor_those_after",
        ),
        ("writes",),
    ),
    Row(
        "F7",
        "disk full",
        "named, no plan is blamed, exit 4, the same command goes on; too little space is refused first",
        (
            f"{_EVALUATE}test_candidate.py::test_a_full_disk_stops_the_search_and_blames_no_plan",
            f"{_EVALUATE}test_open_study.py::test_a_database_that_cannot_be_written_pauses_the_search_and_is_named",
            "evaluation/test_full_fine_tune.py::test_a_disk_that_fills_up_while_saving_leaves_the_last_epoch_whole",
            "search/context/test_prepare.py::test_a_target_whose_disk_is_nearly_full_pauses_the_search",
        ),
        ("disk",),
    ),
    Row(
        "F9",
        "broken .pt: empty, cut off, another file",
        "one line before any work, exit 2",
        ("evaluation/test_checkpoint.py::test_broken_files_are_refused_in_one_line",),
        ("weights",),
    ),
    Row(
        "F10",
        ".pt that runs code or names a missing module",
        "refused, nothing runs, nothing is installed, unless --trust-checkpoint",
        (
            "evaluation/test_checkpoint.py::test_malicious_files_are_refused_and_run_nothing",
            "evaluation/test_checkpoint.py::test_a_file_naming_a_missing_module_is_refused_and_nothing_is_installed",
        ),
        elsewhere="the test: 5 payloads in two places each and one bare, 0 side effects",
    ),
    Row(
        "F12",
        "YAML: aliases, keys twice, ratios out of range, nan, 1e-1, wrong lists",
        "refused with file, key, got and expected",
        (
            "domain/test_plan.py::test_a_bad_plan_is_refused_with_file_key_got_and_expected",
            "storage/test_yaml_io.py::test_nested_duplicates_and_merge_keys_are_refused",
            "pruning/test_plan_errors.py",
        ),
        ("bad_plans",),
        elsewhere="the tests: the same plans, besides spaces and recipes",
    ),
    Row(
        "F13",
        "plan drawn, written, pruned as users do",
        "the same channel counts and parameters",
        ("test_api.py::test_a_plan_file_and_the_same_ratio_give_the_same_model",),
        ("exact_plans",),
    ),
    Row(
        "F14",
        "fine-tune that would un-prune",
        "the shape stays in memory, in the file, after reload and in the export",
        (
            "evaluation/inside/test_pruned_yolo.py::test_training_keeps_the_shape_in_memory_in_files_and_when_trained_again",
            "evaluation/test_fine_tune.py::test_a_shape_that_changes_during_training_is_caught",
            "test_api.py::test_channel_counts_survive_train_save_load_export_and_the_runtime",
        ),
        elsewhere="the tests: exact",
    ),
    Row(
        "F15",
        "nan or inf in weights, statistics, loss, metric",
        "failed with reason nan, never on the front",
        (
            "evaluation/test_fine_tune.py::test_a_loss_that_is_not_finite_fails_the_trial",
            "evaluation/test_validate.py::test_a_weight_or_a_prediction_that_is_not_finite_fails_the_trial",
            "domain/test_front.py::test_the_fastest_failure_with_map_zero_never_enters",
        ),
        ("not_finite",),
    ),
    Row(
        "F16",
        "out of memory: MemoryError, CUDA's text, killed, too large",
        "failed with reason oom, the search goes on; 5 in a row, or 10 of the last 20, end it (exit 5)",
        (
            "evaluation/test_fine_tune.py::test_running_out_of_memory_fails_the_trial",
            f"{_TRIALS}test_a_few_failures_are_survived_and_five_in_a_row_stop_the_search",
            f"{_PROCESSES}test_beyond_its_limits_a_worker_is_ended_with_all_it_started",
            "search/context/test_failures.py",
            "latency/test_local_target.py::test_a_runner_killed_by_the_system_counts_as_out_of_memory",
        ),
        ("limits",),
    ),
    Row(
        "F17",
        "trial that computes for ever, or hangs",
        "its processes are killed at the limit, reason timeout, no second try",
        (
            f"{_PROCESSES}test_beyond_its_limits_a_worker_is_ended_with_all_it_started",
            f"{_PROCESSES}test_a_hang_that_ends_a_worker_is_recorded_with_its_file_and_not_repeated",
            "latency/test_local_target.py::test_at_the_limit_the_runner_and_its_children_are_killed",
        ),
        ("limits", "soak"),
    ),
    Row(
        "F18",
        "target disconnects before, during, after a measurement",
        "three tries, then exit 4; no wrong number is kept",
        (
            "latency/test_ssh_target.py::test_a_device_that_is_off_is_tried_three_times",
            "latency/test_ssh_target.py::test_a_measurement_cut_short_is_made_anew",
            "search/select/test_target_gone.py::test_a_device_that_goes_away_pauses_the_search_and_back_again_it_finishes",
        ),
        elsewhere="the tests: a real sshd on this machine, where one is installed",
    ),
    Row(
        "F19",
        "a neighbour slows the machine by 30 % in the middle of a measurement",
        "noticed; measured again, or marked",
        (
            "latency/test_estimate.py::test_a_neighbour_that_comes_for_good_is_noticed",
            "latency/test_measure.py::test_a_measurement_during_which_the_machine_slowed_down_is_repeated",
        ),
        elsewhere="[benchmarks](../benchmarks/README.md): slowed by 1.3 in 24 pairs, with 0, 1 and 2 neighbours: all noticed, none suspected without",
    ),
    Row(
        "F22",
        "asked for CUDA, got the CPU",
        "an error that names the providers",
        (
            "latency/test_runner.py::test_a_silent_fallback_to_another_provider_is_refused",
            "test_provider.py::test_a_runtime_that_falls_back_in_silence_ends_a_search_before_it_begins",
        ),
        elsewhere="the tests",
    ),
    Row(
        "F23",
        "the same plan drawn again",
        "the earlier result is told, nothing is made",
        (
            f"{_TRIALS}test_a_plan_drawn_twice_is_evaluated_once",
            f"{_TRIALS}test_one_plan_is_not_scored_twice_side_by_side",
        ),
        ("same_plan",),
        missing="two searches on one study may score one plan at the same moment",
    ),
    Row(
        "F24",
        "the same seed twice; interrupted and resumed",
        "the same plans in the same order",
        (
            "contracts/test_samplers.py::test_an_interrupted_study_draws_what_an_uninterrupted_one_does",
            f"{_TRIALS}test_an_interrupted_trial_is_finished_with_its_own_plan",
            f"{_TRIALS}test_the_number_of_workers_changes_no_plan",
        ),
        ("seeds",),
    ),
    Row(
        "F25",
        "resumed with another setting",
        "refused, with both values",
        ("search/context/test_study_settings.py::test_a_changed_setting_is_refused_by_name",),
        elsewhere="the test: 18 settings, each refused by name; imgsz and batch among them",
    ),
    Row(
        "F26",
        "two searches on one study at once",
        "both work, no number twice",
        (f"{_TRIALS}test_two_searches_on_one_study_share_the_work",),
        ("two_searches",),
        elsewhere="two that draw the same plan at the same moment both score it (counted in"
        " the soak, F43); it is fine-tuned once",
    ),
    Row(
        "F27",
        "extreme ratios",
        "kept by the rule, the forward pass is finite",
        ("pruning/test_extreme_plans.py",),
        elsewhere="`benchmarks/claims/extreme_plans.py`: 1000 plans, 0 crashes",
    ),
    Row(
        "F28",
        "export fails or drifts",
        "the next exporter, then reason export; every file is run and compared before it counts",
        (
            "latency/test_export.py::test_a_drifting_file_is_caught_by_the_measuring_process",
            "latency/test_checked_export.py",
        ),
        elsewhere="the tests",
    ),
    Row(
        "F29",
        "no network at all",
        "searches and tests pass; nothing is asked of a network, no runtime reports its use",
        (
            "test_end_to_end.py::test_it_asked_nothing_of_a_network_and_needed_none",
            "latency/test_no_reports.py",
            "evaluation/test_quiet.py::test_a_trial_prints_nothing_opens_no_socket_and_leaves_the_home_folder_alone",
        ),
        ("offline",),
    ),
    Row(
        "F30",
        "the front",
        "equals brute force; failed and infeasible absent, ties kept",
        ("domain/test_front.py::test_the_front_equals_brute_force_on_1000_random_sets",),
        ("fronts",),
    ),
    Row(
        "F31",
        "a winner that meets the limit by luck",
        "measured again in three fresh processes; else unconfirmed",
        (
            "search/select/test_finish.py::test_a_plan_is_confirmed_by_three_processes_whose_bounds_all_count",
            "search/select/test_finish.py::test_a_steady_miss_is_not_measured_until_it_passes",
        ),
        elsewhere="the tests",
    ),
    Row(
        "F32",
        "HTML in names and paths",
        "shown as text; the page loads nothing",
        (
            "report/test_html.py::test_what_users_wrote_is_shown_as_text_and_runs_nothing",
            "report/test_html.py::test_the_page_loads_nothing",
        ),
        elsewhere="the test: 5 payloads in 9 places, 0 tags or scripts of theirs",
    ),
    Row(
        "F33",
        "hostile or broken output of a device",
        "the trial fails, at most 1 MiB is read",
        (
            "latency/test_local_target.py::test_hostile_output_fails_the_trial",
            "latency/test_ssh_target.py::test_hostile_output_fails_the_trial",
            "latency/test_runner_output.py",
        ),
        elsewhere="the tests",
    ),
    Row(
        "F34",
        "a database's password in the storage URL",
        "in no log, record, report, error text or command line of a child",
        (
            f"{_DATABASE}test_the_password_is_nowhere_in_a_study",
            f"{_DATABASE}test_what_is_wrong_with_a_database_is_one_line_without_the_password",
            "storage/test_database_url.py::test_passwords_in_texts_are_hidden",
            "cli/test_worker.py::test_a_password_on_the_command_line_is_taken_off_it",
        ),
        elsewhere="The tests: 0 hits in a study's folder",
    ),
    Row(
        "F35",
        ".pt or recipe whose layer downloads",
        "refused before it is built; no socket while a model is loaded",
        (
            "evaluation/test_unopened.py::test_a_recipe_that_downloads_or_fits_no_machine_is_refused",
            "evaluation/test_unopened.py::test_a_file_that_builds_a_layer_when_loaded_is_refused_before",
            "evaluation/test_unopened.py::test_while_a_model_is_loaded_no_other_machine_is_reached",
        ),
        ("downloads",),
    ),
    Row(
        "F36",
        "pictures or labels changed behind size and time; a stale labels.cache",
        "refused as other data; no foreign cache is believed",
        (
            "evaluation/test_look_through.py::test_the_hash_sees_content_that_changed_behind_the_same_size_and_time",
            "evaluation/test_look_through.py::test_of_a_large_file_blocks_all_over_it_are_looked_at",
            "evaluation/inside/test_own_labels.py::test_a_cache_that_ultralytics_left_is_not_trusted_and_none_is_written",
            "evaluation/inside/test_own_labels.py::test_labels_that_changed_behind_their_size_and_time_are_read_again",
        ),
        elsewhere="the tests: 5 ways; of files above 64 kB samples are compared",
    ),
    Row(
        "F37",
        "a read that never returns (pipe, dead mount)",
        "ended after five minutes without computing; the file is named",
        (
            "evaluation/test_watchdog.py::test_a_read_that_never_returns_is_ended_and_its_file_named",
            f"{_EVALUATE}test_attempts.py::test_a_hang_that_ended_the_process_is_known_to_the_next_one_with_its_file",
            "evaluation/test_look_through.py::test_a_pipe_in_the_place_of_an_image_is_not_waited_for",
        ),
        elsewhere="the tests, with shorter limits",
    ),
    Row(
        "F38",
        "study.db or records cut off, flipped, edited, copied, deleted, or older than the other",
        "named; made again or set aside; the rest works",
        (
            f"{_EVALUATE}test_rebuild.py::test_the_study_is_made_again_from_the_records",
            f"{_EVALUATE}test_cross_check.py",
            f"{_TRIALS}test_a_lost_record_is_named_and_its_plan_scored_again",
        ),
        ("broken_files",),
    ),
    Row(
        "F39",
        "what is left after a kill: temporary folders, drafts, attempts",
        "gone after the next search",
        (
            "storage/test_scratch.py::test_only_the_folder_of_a_process_that_is_gone_is_removed",
            "storage/test_study_folder.py::test_what_killed_work_left_goes_where_nobody_works",
        ),
        ("litter",),
    ),
    Row(
        "F40",
        "a billion classes, 6 GB in a small file",
        "refused by bounds",
        (
            "evaluation/test_unopened.py::test_a_small_file_that_unpacks_to_much_is_refused_before_it_does",
            "evaluation/test_unopened.py::test_a_recipe_that_downloads_or_fits_no_machine_is_refused",
        ),
        ("bombs",),
    ),
    Row(
        "F41",
        "weights that 16 bits cannot hold, nan, flipped bytes",
        "the file answers as the model in memory, or one line names the tensor",
        (
            "evaluation/test_half_precision.py",
            "evaluation/inside/test_saving.py",
            "evaluation/test_unopened.py::test_a_number_that_is_none_is_named_by_its_tensor",
            "evaluation/test_unopened.py::test_a_flipped_byte_is_found_by_the_archives_checksum",
        ),
        ("weights",),
    ),
    Row(
        "F42",
        "modules that nobody follows, a module used twice",
        "cut rightly, kept whole, or refused",
        (
            "families/tracing/test_parts.py",
            "families/tracing/test_tracer.py::test_whatever_a_block_does_no_channel_goes_wrongly",
            "pruning/test_proof.py",
        ),
        elsewhere="the tests: each cut is held against the dense network",
    ),
    Row(
        "F43",
        "PostgreSQL restarted, out of connections, disk full; clocks that differ",
        "workers wait and go on; a result counts once",
        (
            f"{_DATABASE}test_workers_wait_for_a_server_that_restarts",
            "search/context/test_database.py::test_a_second_error_on_a_lost_connection_is_of_the_connection_too",
            f"{_DATABASE}test_a_record_that_goes_further_is_never_lost",
            f"{_DATABASE}test_a_lost_database_is_filled_from_a_folder",
            "search/context/test_advisory_locks.py::test_a_server_that_restarts_gives_locks_back_to_who_held_them",
            f"{_SHARED}test_a_worker_that_was_taken_for_lost_changes_nothing_when_it_wakes_up",
        ),
        ("soak", "killed_search", "server_disk", "clocks"),
    ),
    Row(
        "F44",
        "odd homes, caches, umasks, names that are no text or 300 letters long",
        "works, or one line",
        (
            "storage/test_cache.py",
            "evaluation/test_look_through.py::test_a_name_that_no_list_can_hold_leaves_its_image_out",
        ),
        ("odd_places",),
    ),
)
