#!/bin/bash
#
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
#
# Called by stack.sh, unstack.sh and clean.sh with the phase; what a phase
# does is in lib/mig-placement.

_XTRACE_MIG_PLACEMENT_PLUGIN=$(set +o | grep xtrace)
set +o xtrace

if [[ -z "${MIG_PLACEMENT_DIR:-}" ]]; then
    MIG_PLACEMENT_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fi
source "$MIG_PLACEMENT_DIR/devstack/lib/mig-placement"

case "$1 $2" in
    "stack pre-install")
        if is_mig_placement_needed; then
            echo_summary "Checking what mig-placement needs"
            check_mig_placement
        fi
        ;;
    "stack install")
        if is_mig_placement_needed; then
            echo_summary "Installing mig-placement"
            install_mig_placement
        fi
        ;;
    "stack post-config")
        # Keystone is up, nova.conf has been made anew, and nova-compute,
        # whose nova-cpu.conf is a copy of it, has not been started.
        if is_service_enabled keystone; then
            echo_summary "Creating mig-placement's service user"
            create_mig_placement_accounts
        fi
        if is_mig_placement_needed; then
            echo_summary "Configuring mig-placement"
            configure_mig_placement
            configure_mig_placement_nova
        fi
        ;;
    "stack extra")
        # Placement is up and nova-compute has been started.
        if is_service_enabled mig-placement-agent; then
            echo_summary "Starting mig-placement"
            start_mig_placement
            create_mig_placement_flavors
        fi
        ;;
    "stack test-config")
        if is_service_enabled mig-placement-agent; then
            echo_summary "Waiting for mig-placement's gate"
            wait_for_mig_placement
            check_mig_placement_nova
        fi
        ;;
    "unstack "*)
        stop_mig_placement
        ;;
    "clean "*)
        stop_mig_placement
        cleanup_mig_placement
        ;;
esac

$_XTRACE_MIG_PLACEMENT_PLUGIN
