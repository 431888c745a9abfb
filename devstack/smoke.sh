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
# Boots a server with a flavor of mig-placement's and reads from Placement
# that it was given a MIG slice, of a provider of the agent's. What it made
# it deletes, whatever happens. Exit status 1: there was no such slice.
#
# Runs on a node with DevStack, after stack.sh.

set -o errexit
set -o nounset
set -o pipefail

export OS_CLOUD=${OS_CLOUD:-devstack-admin}
export OS_PLACEMENT_API_VERSION=1.39

server_name=mig-placement-smoke-$$

function fail {
    echo "smoke: $*" >&2
    exit 1
}

# The first flavor that asks for a MIG class; nothing if none does.
function find_flavor {
    openstack flavor list --all --long -f json | python3 -c '
import json
import sys

flavors = json.load(sys.stdin)
fit = [f["Name"] for f in flavors if "CUSTOM_MIG_" in str(f["Properties"])]
print(*fit[:1])
'
}

# Lines of provider, class and amount; of MIG classes alone.
function find_slices {
    openstack resource provider allocation show "$1" -f json | python3 -c '
import json
import sys

def lines(row):
    provider, held = row["resource_provider"], row["resources"]
    mig = [name for name in held if name.startswith("CUSTOM_MIG_")]
    return [f"{provider} {name} {held[name]}" for name in mig]

print(*sum(map(lines, json.load(sys.stdin)), []), sep="\n")
'
}

function clean_up {
    local status=$?
    if [[ $status -ne 0 ]]; then
        # Why Nova refused it, and what Placement had to offer.
        openstack server show "$server_name" -f value -c fault >&2 || true
        openstack resource provider list >&2 || true
    fi
    openstack server delete --wait "$server_name" || status=1
    exit "$status"
}

flavor=${FLAVOR:-$(find_flavor)}
[[ -n "$flavor" ]] || fail "no flavor asks for a MIG class"
images=$(openstack image list --status active -f value -c ID)
image=${IMAGE:-${images%%$'\n'*}}
[[ -n "$image" ]] || fail "there is no image"

trap clean_up EXIT
# Without a network, which the slice has nothing to do with; since 2.37.
server=$(openstack --os-compute-api-version 2.37 server create --wait \
    --flavor "$flavor" --image "$image" --nic none \
    -f value -c id "$server_name") || fail "the server did not boot"

slices=$(find_slices "$server")
[[ -n "$slices" ]] || fail "server $server holds no MIG slice"
while read -r provider class amount; do
    name=$(openstack resource provider show "$provider" -f value -c name)
    [[ "$name" == *_mig_* ]] || fail "$class is of $name, not of the agent's"
    echo "server $server holds $amount $class of $name"
done <<<"$slices"
