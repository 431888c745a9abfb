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
# Does what stack.sh, unstack.sh and clean.sh do with a plugin, in the order
# in which they do it: run.sh stack|unstack|clean.

set -o errexit

here=$(dirname "${BASH_SOURCE[0]}")
source "$here/functions"
source "$PLUGIN/settings"

function run_phase {
    _call "phase $*"
    source "$PLUGIN/plugin.sh" "$@"
}

function start_nova {
    if is_service_enabled n-cpu; then
        cp "$NOVA_CONF" "$NOVA_CPU_CONF"
        _call "start n-cpu"
    fi
}

case "$1" in
    stack)
        run_phase stack pre-install
        run_phase stack install
        mkdir -p "$(dirname "$NOVA_CONF")"
        printf '[DEFAULT]\n%s\n' "${NOVA_DEFAULT:-}" >"$NOVA_CONF"
        run_phase stack post-config
        start_nova
        run_phase stack extra
        run_phase stack test-config
        ;;
    unstack)
        run_phase unstack
        ;;
    clean)
        run_phase unstack
        run_phase clean
        ;;
esac
