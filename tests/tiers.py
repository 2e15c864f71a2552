"""Which tests are slow or thorough, and which files one worker runs one after the other.

`pytest -m fast` runs everything that is not listed here. The order matters too: with several
workers the listed files come first and in this order, so that no long one ends alone.
`pytest` alone leaves out the thorough ones, to be done sooner; `.ci/run`
runs them too, by `pytest -m thorough`. Whoever names a file gets all of its tests.
"""

from __future__ import annotations

# One worker runs these after one another, so that none of them disturbs another: they measure real
# latency, run a real sshd, or wait for what a process of theirs does within seconds. No more than
# that: together they take as long as all the others.
ALONE = (
    "tests/test_end_to_end.py",
    "tests/contracts/test_targets.py",
    "tests/test_extending.py",
    "tests/contracts/test_runtimes.py",
    "tests/latency/test_self_test.py",
    "tests/latency/test_ssh_target.py",
    "tests/latency/test_local_target.py",
    "tests/latency/test_device_program.py",
    "tests/latency/test_runtimes.py",
    "tests/latency/test_runner.py",
    "tests/search/select/test_target_gone.py",
)

# Files, and single tests (or one case of them) of files whose other tests are fast. They train,
# search, export, time a real model, start a process that imports torch, or just take long.
_SLOW = """
tests/test_end_to_end.py
tests/test_no_traces.py
tests/test_cuda.py
tests/test_api.py::test_channel_counts_survive_train_save_load_export_and_the_runtime
tests/test_api.py::test_taylor_needs_images_and_uses_them
tests/test_api.py::test_images_decide_the_default_and_the_result_says_so
tests/test_api.py::test_the_saved_file_holds_the_plan_that_repeats_it
tests/test_api.py::test_a_plans_images_may_have_moved
tests/test_api.py::test_pruning_nothing_with_images_changes_nothing
tests/test_api.py::test_measure_compares_a_pruned_model_with_its_dense_one
tests/pruning/test_mask_equivalence.py::test_pruning_one_index_equals_silencing_its_channels
tests/pruning/test_mask_equivalence.py::test_a_random_plan_equals_silencing_its_channels
tests/evaluation/test_fine_tune.py
tests/evaluation/test_full_fine_tune.py
tests/evaluation/test_quiet.py
tests/evaluation/test_validate_file.py
tests/evaluation/test_regrowth_guard.py::test_plain_ultralytics_uses_a_sealed_file_but_never_trains_it
tests/evaluation/test_checkpoint.py::test_malicious_files_are_refused_and_run_nothing
tests/evaluation/test_checkpoint.py::test_another_task_is_named
tests/evaluation/test_channels.py::test_such_a_model_goes_the_whole_way
tests/evaluation/test_branches.py::test_the_exported_file_lists_the_objects
tests/evaluation/test_fewer_classes.py::test_a_pruned_file_keeps_its_classes_and_its_plan_repeats_them
tests/evaluation/test_other_families.py
tests/evaluation/test_tasks.py::test_the_score_is_of_the_tasks_own_kind
tests/evaluation/test_tasks.py::test_it_goes_the_whole_way
tests/evaluation/inside/test_own_labels.py
tests/evaluation/inside/test_pruned_yolo.py
tests/evaluation/inside/test_distill.py
tests/pruning/test_compensation.py::test_every_architecture_is_pruned_to_the_ruled_widths_with_finite_outputs
tests/pruning/test_compensation.py::test_the_plan_alone_decides_the_widths_not_the_criterion
tests/pruning/test_extreme_plans.py
tests/shipping/test_apply.py
tests/shipping/test_ready.py
tests/search/context/test_prepare.py
tests/search/feasibility/test_probe.py
tests/search/propose/test_profile_sampler.py::test_a_wrong_profile_is_corrected_by_the_trials
tests/contracts/test_ultralytics_inside.py
tests/contracts/test_samplers.py::test_an_interrupted_study_draws_what_an_uninterrupted_one_does
tests/contracts/test_criteria.py::test_every_channel_of_every_group_gets_one_finite_score[obs]
tests/contracts/test_criteria.py::test_the_same_model_gets_the_same_scores_and_is_left_as_it_was[obs]
tests/contracts/test_criteria.py::test_a_criterion_that_looks_at_gradients_says_so[obs]
tests/contracts/test_criteria.py::test_scores_are_costs[obs]
tests/test_provider.py::test_measure_names_the_providers_there_are_instead_of_falling_back
tests/test_provider.py::test_a_search_is_refused_before_it_looks_at_data_or_makes_a_folder
tests/cli/test_prune.py::test_with_images_it_names_the_criterion_and_the_images
tests/cli/test_prune.py::test_an_interrupted_fine_tune_goes_on_and_leaves_only_the_model
tests/latency/test_slim_onnx.py
tests/test_benchmark_disturbance.py
tests/report/test_write_report.py::test_reporting_imports_neither_torch_nor_ultralytics_nor_optuna
tests/contracts/test_targets.py
tests/contracts/test_runtimes.py
tests/test_extending.py::test_every_row_on_the_page_passes_the_contract_test_of_its_table
tests/test_extending.py::test_help_lists_what_the_tables_hold_with_what_packages_add
tests/latency/test_runtimes.py
tests/latency/test_export.py
tests/latency/test_ncnn_files.py
tests/latency/test_self_test.py::test_a_real_model_with_a_burden_takes_that_much_longer
tests/latency/test_ssh_target.py
tests/latency/test_local_target.py
tests/latency/test_device_program.py
tests/search/select/test_target_gone.py
tests/search/select/test_promote.py::test_a_plan_whose_fine_tune_kills_its_worker_twice_is_given_up
tests/search/select/test_promote.py::test_a_trial_that_another_worker_holds_is_passed_over
tests/search/evaluate/test_trials.py::test_a_killed_search_loses_no_finished_trial
tests/search/evaluate/test_shared_trials.py::test_workers_in_two_folders_share_a_study_and_one_that_is_killed_is_replaced
tests/search/context/test_advisory_locks.py::test_a_server_that_restarts_gives_locks_back_to_who_held_them
tests/search/context/test_database_study.py::test_workers_wait_for_a_server_that_restarts
tests/cli/test_worker.py::test_a_password_on_the_command_line_is_taken_off_it
tests/search/evaluate/test_trials.py::test_two_searches_on_one_study_share_the_work
tests/search/evaluate/test_trials.py::test_an_interrupted_trial_is_finished_with_its_own_plan
tests/search/evaluate/test_trials.py::test_a_search_that_finds_nothing_new_stops_by_itself
tests/search/evaluate/test_trials.py::test_a_search_that_still_finds_better_plans_goes_on
tests/report/test_write_report.py::test_an_unfinished_study_gets_its_report_too
tests/search/learn/test_target_space.py::test_another_goal_takes_over_widths_predictor_and_plans
tests/search/learn/test_target_space.py::test_an_interrupted_study_goes_on_with_the_same_widths_and_the_same_plans
tests/test_provider.py::test_a_runtime_that_falls_back_in_silence_ends_a_search_before_it_begins
tests/test_api.py::test_a_plan_file_and_the_same_ratio_give_the_same_model
tests/search/learn/test_target_space.py::test_a_changed_space_yaml_is_refused_before_any_trial
tests/pruning/test_widths.py::test_every_conv_has_the_width_the_rule_gives
tests/search/propose/test_study_sampler.py::test_a_sequence_stays_one_also_across_an_interruption
tests/pruning/test_compensation.py::test_on_real_3x3_layers_reconstruction_gets_better_with_either_covariance
tests/pruning/test_trace_geometry.py::test_widths_and_macs_are_those_of_the_pruned_models
tests/pruning/test_size.py::test_params_and_macs_match_the_hand_count
tests/search/propose/test_names.py::test_nothing_heavy_is_imported_to_refuse_a_name
tests/report/test_write_report.py::test_every_goal_is_reported_before_dense_is_known_and_after
tests/contracts/test_samplers.py::test_the_same_seed_draws_the_same_plans
tests/pruning/test_prune.py::test_a_plan_that_removes_nothing_gives_a_bit_identical_copy
tests/search/propose/test_solver.py::test_it_is_within_the_limit_and_close_to_the_cheapest_of_all_plans
tests/contracts/test_samplers.py::test_unevenly_spaced_widths_and_an_accuracy_goal_are_no_trouble
tests/report/test_html.py::test_what_users_wrote_is_shown_as_text_and_runs_nothing
tests/search/propose/test_profile_sampler.py::test_the_same_seed_draws_the_same_plans_and_another_seed_others
tests/report/test_write_report.py::test_a_finished_study_gets_exactly_the_four_files
tests/pruning/test_mask_equivalence.py::test_every_criterion_prunes_consistently
tests/search/learn/test_target_space.py::test_two_workers_that_start_together_have_the_same_widths
tests/search/learn/test_calibration.py::test_a_damaged_file_is_collected_again_and_replaced
tests/report/test_write_report.py::test_reporting_again_replaces_the_files_and_leaves_no_drafts
tests/cli/test_prune.py::test_without_images_the_output_names_the_simple_criterion
tests/evaluation/test_dataset.py::test_a_wrong_yaml_is_one_line_that_names_file_and_key
tests/search/propose/test_profile_sampler.py::test_an_interrupted_study_goes_on_as_if_it_had_not_been
tests/search/learn/test_calibration.py::test_other_images_seed_size_or_model_are_collected_anew
tests/pruning/test_widths.py::test_any_class_count_keeps_its_outputs
tests/search/propose/test_profile_sampler.py::test_plans_are_close_to_the_limit_as_often_as_the_limits_drawn
tests/search/evaluate/test_processes.py::test_a_hang_that_ends_a_worker_is_recorded_with_its_file_and_not_repeated
tests/latency/test_denormals.py::test_an_export_notices_them_in_the_picture_that_is_timed
tests/search/evaluate/test_supervisor.py::test_the_search_itself_ends_beyond_its_limits_and_the_next_one_knows
tests/search/evaluate/test_processes.py::test_beyond_its_limits_a_worker_is_ended_with_all_it_started
tests/search/evaluate/test_processes.py::test_a_record_written_before_the_death_is_not_made_again
tests/search/evaluate/test_attempts.py::test_a_hang_that_ended_the_process_is_known_to_the_next_one_with_its_file
tests/evaluation/test_watchdog.py::test_a_note_that_cannot_be_written_keeps_no_process_alive
"""
SLOW = tuple(_SLOW.split())


# Tests, and cases by how they begin: what others show is shown again for one more family, task,
# runtime, architecture or size; or a program of its own is watched for what it leaves behind.
_THOROUGH = """
tests/evaluation/test_tasks.py::test_it_goes_the_whole_way[yolo26n-
tests/evaluation/test_tasks.py::test_it_goes_the_whole_way[yolov8n-
tests/evaluation/test_other_families.py::test_it_goes_the_whole_way[yolov10n
tests/evaluation/test_other_families.py::test_it_goes_the_whole_way[yolo11n
tests/evaluation/test_other_families.py::test_what_is_exported_is_the_branch_that_is_validated[yolo
tests/evaluation/test_branches.py::test_the_exported_file_lists_the_objects[yolo26n-seg
tests/evaluation/test_branches.py::test_smaller_images_and_equal_scores_are_compared_too
tests/evaluation/test_validate_file.py::test_of_each_task_it_is_torchs_and_so_is_each_object[yolov8n-
tests/evaluation/test_channels.py::test_such_a_model_goes_the_whole_way[4
tests/families/test_every_model.py::test_a_pruned_model_is_the_dense_one_with_those_channels_silenced[yolov
tests/families/test_every_model.py::test_a_pruned_model_is_the_dense_one_with_those_channels_silenced[yolo11
tests/families/test_every_model.py::test_a_pruned_model_is_the_dense_one_with_those_channels_silenced[yolo26m
tests/families/test_every_model.py::test_a_pruned_model_is_the_dense_one_with_those_channels_silenced[yolo26n-
tests/latency/test_slim_onnx.py::test_other_families_files_have_every_shape_of_the_exported_pruned_model
tests/latency/test_export.py::test_a_torch_program_equals_torch_in_both_memory_layouts
tests/latency/test_local_target.py::test_denormal_numbers_are_zero_where_time_is_taken_in_every_thread[torch
tests/contracts/test_runtimes.py::test_each_precision_and_several_threads_are_passed_on_and_told_or_refused_in_one_line[torch
tests/contracts/test_runtimes.py::test_a_memory_layout_is_chosen_where_the_row_says_so_and_refused_elsewhere[torch
tests/contracts/test_runtimes.py::test_a_provider_that_is_not_there_is_refused_in_one_line[torch
tests/contracts/test_families.py::test_the_next_smaller_stock_model_is_a_sibling
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[export
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[measure
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[probe
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[prune
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[fine_tune_pruned
tests/test_no_traces.py::test_libraries_first_imported_by_us_are_as_after_a_plain_import
tests/pruning/test_mask_equivalence.py::test_pruning_one_index_equals_silencing_its_channels[yolov8n-p
tests/pruning/test_mask_equivalence.py::test_a_random_plan_equals_silencing_its_channels[yolov8m
tests/pruning/test_mask_equivalence.py::test_a_random_plan_equals_silencing_its_channels[yolov8s
tests/pruning/test_trace_geometry.py::test_depthwise_transposed_and_spare_branches_are_counted_as_they_are[yolo
tests/pruning/test_extreme_plans.py::test_a_hundred_extreme_plans_give_finite_outputs[yolov8n-p
tests/pruning/test_extreme_plans.py::test_a_hundred_extreme_plans_give_finite_outputs[yolov8s
tests/pruning/test_compensation.py::test_every_architecture_is_pruned_to_the_ruled_widths_with_finite_outputs[yolov8n-p
tests/shipping/test_apply.py::test_a_device_behind_ssh_times_the_file_and_the_card_names_it
tests/cli/test_export.py::test_only_a_file_that_answers_as_the_model_does_is_written[wrong1
tests/cli/test_export.py::test_size_and_runtime_can_be_chosen
tests/search/feasibility/test_probe.py::test_the_dense_model_is_timed_under_every_other_runtime_of_the_target
tests/search/feasibility/test_probe.py::test_provider_and_layout_reach_every_measurement
tests/search/evaluate/test_processes.py::test_workers_that_die_for_no_candidates_sake_end_the_search_with_their_last_words
tests/search/evaluate/test_processes_end.py::test_no_worker_outlives_its_search[SIGINT
tests/latency/rewrites/test_rewrites.py::test_no_exporter_leaves_a_softmax_or_splits_a_convolutions_output[dynamo
tests/latency/test_onnx_metadata.py::test_the_file_says_what_ultralytics_own_export_says[dynamo
tests/contracts/test_runtimes.py::test_a_lighter_model_is_faster[torch
tests/test_benchmarks.py::test_all_that_benchmarks_import_or_replace_is_there
tests/latency/test_slim_onnx.py::test_other_layers_and_activations_can_be_cut_too
tests/latency/test_onnx_metadata.py::test_a_slimmed_file_says_the_same
tests/families/tracing/test_parts.py::test_a_synchronized_norm_is_cut_as_the_batch_norm_that_it_is[True
tests/test_no_traces.py::test_a_pruned_model_is_trained_offline_after_the_function_that_made_it_returned
tests/test_no_traces.py::test_a_public_function_leaves_no_traces[write_report
tests/evaluation/test_full_fine_tune.py::test_a_disk_that_fills_up_while_saving_leaves_the_last_epoch_whole[last
tests/evaluation/test_regrowth_guard.py::test_plain_ultralytics_uses_a_sealed_file_but_never_trains_it[1
tests/evaluation/test_branches.py::test_the_choice_stays_with_copies_pruned_models_files_and_siblings
tests/cli/test_prune.py::test_a_file_in_single_precision_and_odd_images_are_told
tests/search/evaluate/test_trials.py::test_two_searches_on_one_study_share_the_work
"""
THOROUGH = tuple(_THOROUGH.split())


def is_thorough(nodeid: str) -> bool:
    """Is this test left out where nothing is asked for?"""
    test = nodeid.partition("[")[0]
    return any(nodeid.startswith(row) if "[" in row else test == row for row in THOROUGH)


def is_slow(nodeid: str) -> bool:
    """Does this test belong to the slow tier?"""
    file, _, test = nodeid.partition("::")
    return not {file, nodeid, f"{file}::{test.partition('[')[0]}"}.isdisjoint(SLOW)


def unit(nodeid: str) -> str:
    """What one worker runs as a whole: the file of a test, or all that wants to be alone."""
    file = nodeid.partition("::")[0]
    return "alone" if file in ALONE else file


def turn(nodeid: str) -> tuple[int, int]:
    """Sorts tests: first what wants to be alone, then the slow files, each as listed."""
    file = nodeid.partition("::")[0]
    if file in ALONE:
        return 0, ALONE.index(file)
    listed = list(dict.fromkeys(row.partition("::")[0] for row in SLOW))
    return (1, listed.index(file)) if file in listed else (2, 0)
