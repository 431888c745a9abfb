# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.
"""What happened to users of other tools, and the tests that it cannot here.

Each story has at least one test; one that is renamed or deleted without a
successor fails here.
"""

import ast
import pathlib

import pytest

_TESTS = pathlib.Path(__file__).parents[1]

#: Story (and where it was told) to the tests that play it.
STORIES = {
    "a tool said 'applied successfully' and no instance existed"
    " (mig-parted #18, #97; gpu-operator #603)": [
        "functional/test_agent_restore.py::"
        "test_a_command_that_lies_opens_nothing",
        "functional/test_restore.py::"
        "test_a_filter_that_matches_no_gpu_is_an_error_and_no_success",
    ],
    "an unknown profile in the file wiped the GPU and exited 0 (HAMi #2131)": [
        "functional/test_restore.py::"
        "test_what_cannot_be_had_costs_no_mutating_call",
        "unit/test_geometry_layout.py::"
        "test_an_unknown_profile_is_an_error_with_the_gpu",
    ],
    "an impossible layout was found out by destroying everything": [
        "functional/test_restore.py::"
        "test_what_cannot_be_had_costs_no_mutating_call",
        "functional/test_restore.py::"
        "test_a_failed_step_is_rolled_back_and_the_next_run_succeeds",
        "unit/test_geometry_target.py::"
        "test_a_layout_that_is_impossible_here_destroys_nothing",
    ],
    "a change on one GPU reset all GPUs (mig-parted #357)": [
        "functional/test_restore.py::"
        "test_a_restore_of_one_gpu_closes_all_of_the_node",
        "functional/test_restore.py::"
        "test_a_failed_gpu_leaves_the_others_alone",
    ],
    "instances in use could not be kept (mig-parted #3, #119)": [
        "functional/test_restore.py::"
        "test_an_instance_with_a_process_is_kept_and_the_rest_done",
        "functional/test_agent_restore.py::"
        "test_what_is_in_use_is_drained_and_said",
    ],
    "a GPU instance left without compute instance was not seen": [
        "functional/test_agent.py::"
        "test_an_instance_without_its_compute_instance_closes",
        "functional/test_restore.py::"
        "test_a_gpu_instance_left_without_compute_instance_is_completed",
    ],
    "a host was rebooted, a VM was ACTIVE without its GPU, and nothing said"
    " so (cubecos #1528)": [
        "functional/test_agent.py::"
        "test_ready_is_sent_when_stale_capacity_is_closed",
        "functional/test_agent.py::"
        "test_capacity_in_use_is_not_denied_after_a_reboot",
        "nova/test_reboot.py::"
        "test_nothing_lands_until_another_tool_made_the_instances",
    ],
    "capacity was counted from functions that had no type"
    " (cubecos #904, #905)": [
        "functional/test_attach.py::"
        "test_a_function_without_a_vgpu_type_is_no_capacity",
    ],
    "devices that were reported too often were handed out twice"
    " (cubecos #1262)": [
        "chaos/test_chaos.py::test_nothing_is_offered_that_is_not_there",
        "functional/test_attach.py::"
        "test_more_functions_in_nova_than_instances_close_the_gate",
    ],
    "setting SR-IOV up wiped the MIG configuration (StackHPC's vgpu role)": [
        "unit/test_geometry_functions.py::"
        "test_sriov_comes_before_the_instances",
        "functional/test_attach.py::"
        "test_after_a_reboot_functions_and_instances_come_back_in_order",
    ],
}


@pytest.mark.parametrize("story", STORIES)
def test_each_story_has_its_tests(story: str) -> None:
    assert STORIES[story]
    for test in STORIES[story]:
        path, _, name = test.partition("::")
        assert name in _functions(_TESTS / path), test


def _functions(path: pathlib.Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        each.name
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef)
    }
