"""The tests themselves: none is skipped unnoticed."""

import ast
import os
import tomllib
from pathlib import Path

from tests.long_cases import ALWAYS_LONG

ROOT = Path(__file__).parent.parent
PYTEST = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]

#: Files in which a test may be skipped, and why.
SKIPPING = {
    "evaluators/cohort/test_cohort.py": "a GPU, which continuous integration has not",
    "lossearch/test_plot.py": "a browser, which LOSSEARCH_BROWSER_TESTS=required demands",
    "results/report/browser.py": "a browser, which LOSSEARCH_BROWSER_TESTS=required demands",
}

#: Tests with only long cases. A shorter test covers the same ground.
LONG_ALONE = {
    "tests/lossearch/engine/test_kills.py::test_a_killed_and_resumed_steady_run_has_every_evaluation_once",
    "tests/evaluators/executors/test_cluster.py::test_a_node_where_no_worker_starts_is_reported_once_and_delays_no_other",
    "tests/evaluators/executors/test_cluster.py::test_a_result_lost_with_its_node_is_computed_again",
    "tests/evaluators/executors/test_cluster.py::test_a_search_may_begin_before_there_is_a_node_to_train_on",
    "tests/evaluators/executors/test_cluster.py::test_a_worker_that_is_killed_from_outside_costs_one_more_attempt",
    "tests/evaluators/executors/test_cluster.py::test_lost_workers_do_not_return_to_a_cluster_that_cannot_grow",
    "tests/evaluators/executors/test_cluster.py::test_lost_workers_may_return_much_later",
    "tests/evaluators/executors/test_cluster.py::test_the_pool_grows_and_shrinks_with_the_cluster",
    "tests/evaluators/executors/test_cluster.py::test_workers_need_no_data_of_their_own",
    "tests/evaluators/executors/test_cluster_address.py::test_a_cluster_is_joined_with_its_token",
    "tests/evaluators/executors/test_cluster_address.py::test_a_local_search_listens_only_locally",
    "tests/evaluators/executors/test_cluster_address.py::test_a_process_that_had_a_ray_of_its_own_may_join_a_cluster",
    "tests/evaluators/executors/test_cluster_address.py::test_a_worker_without_the_package_is_reported",
    "tests/evaluators/executors/test_executor.py::test_a_cluster_with_gpus_has_one_worker_for_each",
    "tests/evaluators/executors/test_executor.py::test_a_worker_that_dies_with_states_costs_a_training_from_the_start",
    "tests/evaluators/executors/test_executor.py::test_a_cohort_that_dies_is_split_until_the_culprit_is_alone",
    "tests/lossearch/cli/test_cli.py::test_known_losses_and_formulas_are_exported_in_every_format",
    "tests/lossearch/cli/test_health.py::test_time_is_shared_out_by_worker",
    "tests/lossearch/engine/test_faults.py::test_a_candidate_that_exhausts_memory_fails_alone",
    "tests/lossearch/engine/test_faults.py::test_a_node_that_vanishes_during_a_search_costs_no_result",
    "tests/lossearch/engine/test_faults.py::test_candidates_that_crash_or_hang_fail_and_the_others_are_kept",
    "tests/lossearch/engine/test_ray_job.py::test_a_stopped_and_resubmitted_job_equals_a_local_search",
    "tests/lossearch/engine/test_rungs.py::test_ray_and_any_order_give_the_same_records",
    "tests/lossearch/studies/test_compare.py::test_a_comparison_on_ray_equals_one_in_this_process",
    "tests/lossearch/studies/test_verdict.py::test_a_second_scene_keeps_constants_and_tunes_the_learning_rate",
    "tests/lossearch/studies/test_verdict.py::test_a_verdict_names_the_number_of_candidates_a_loss_was_chosen_from",
    "tests/lossearch/studies/test_verdict.py::test_stopped_judging_continues_and_more_seeds_keep_earlier_measurements",
    "tests/lossearch/studies/test_verdict.py::test_the_judged_losses_are_recorded_before_the_next_scene_begins",
    "tests/lossearch/test_plot.py::test_class_maps_are_drawn_of_networks_that_see_images",
    "tests/primitives/modules/test_parameters.py::test_losses_train_in_two_processes",
    "tests/results/report/test_in_a_browser.py::test_a_dark_screen_prints_in_black_on_white",
    "tests/results/report/test_in_a_browser.py::test_a_large_run_opens_soon",
    "tests/results/report/test_in_a_browser.py::test_it_prints_to_pdf",
    "tests/results/report/test_observing.py::test_losses_over_embeddings_verification_and_pixels_are_observed",
    "tests/test_install.py::test_a_module_has_one_identity_in_this_process_and_on_workers",
}


def test_the_mark_of_long_tests_is_registered_and_an_unknown_one_is_an_error():
    assert "--strict-markers" in PYTEST["addopts"].split()
    assert [marker.partition(":")[0] for marker in PYTEST["markers"]] == ["long", "xdist_group(name)"]


def test_continuous_integration_runs_every_test_and_needs_a_browser():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "export LOSSEARCH_BROWSER_TESTS=required" in lines
    assert lines[-2:] == ["make test", "make test-long"]
    makefile = (ROOT / "Makefile").read_text()
    assert '-m "not long"' in makefile
    assert "-m long" in makefile


def test_tests_of_a_group_run_in_one_worker(request):
    """Else each worker makes the fixtures of a file again, and two Rays start at once. xdist writes it in the id."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    assert request.node.nodeid.endswith("@test_suite.py" if is_worker else request.node.name)


def test_only_what_needs_a_gpu_or_a_browser_may_be_skipped():
    skipping = set()
    for path in (ROOT / "tests").rglob("*.py"):
        names = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        if names & {"skip", "skipif", "importorskip", "xfail"}:
            skipping.add(path.relative_to(ROOT / "tests").as_posix())
    assert skipping == set(SKIPPING)


def test_every_test_has_a_short_case_except_the_listed_ones(request):
    """Of the tests that were collected: in a run of all, of all tests."""
    assert request.config.stash[ALWAYS_LONG] <= LONG_ALONE
