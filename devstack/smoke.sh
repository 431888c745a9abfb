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
# that it was given a MIG slice. Of which provider depends on how the flavor
# attaches it, as [nova] attach: by one of the agent's; with mdev by Nova's
# of a virtual function; with vfio by one of the agent's, and the function
# by Nova's of the GPU. What it made it deletes, whatever happens. Exit
# status 1: there was no such slice.
#
# Runs on a node with DevStack, after stack.sh. FLAVOR and IMAGE choose one.

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

# The first flavor, or $FLAVOR, that asks for a MIG class: how it attaches
# the slice, and its name; nothing if none does.
function find_flavor {
    openstack flavor list --all --long -f json | python3 -c '
import json
import sys

def attach(keys):
    if "pci_passthrough:alias" in keys:
        return "vfio"
    return "mdev" if "trait_MIG:CUSTOM_MIG_READY" in keys else "none"

def fits(flavor):
    chosen = sys.argv[1] in ("", flavor["Name"], flavor["ID"])
    return chosen and "_MIG:CUSTOM_MIG_" in str(flavor["Properties"])

flavors = filter(fits, json.load(sys.stdin))
lines = [attach(str(f["Properties"])) + " " + f["Name"] for f in flavors]
print(*lines[:1])
' "${FLAVOR:-}"
}

# Lines of provider, class and amount; of MIG classes and of Nova's classes
# of their virtual functions.
function find_slices {
    openstack resource provider allocation show "$1" -f json | python3 -c '
import json
import sys

classes = ("CUSTOM_MIG_", "CUSTOM_VGPU_")

def lines(row):
    provider, held = row["resource_provider"], row["resources"]
    mig = [name for name in held if name.startswith(classes)]
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

# What a unit of a class is, by the name of its provider.
function kind_of {
    case "$1 of $2" in
        CUSTOM_MIG_*_mig_*_??_??_?) echo "slice" ;;
        CUSTOM_MIG_*_pci_*_??_??_?) echo "mdev" ;;
        CUSTOM_VGPU_*_*:??:??.?) echo "vfio" ;;
        *) echo "unknown" ;;
    esac
}

found=$(find_flavor)
[[ -n "$found" ]] || fail "no flavor ${FLAVOR:-} asks for a MIG class"
read -r attach flavor <<<"$found"
case "$attach" in
    none) wanted="slice" ;;
    mdev) wanted="mdev" ;;
    vfio) wanted="slice vfio" ;;
esac
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
kinds=()
while read -r provider class amount; do
    name=$(openstack resource provider show "$provider" -f value -c name)
    echo "server $server holds $amount $class of $name"
    kinds+=("$(kind_of "$class" "$name")")
done <<<"$slices"
held=$(printf '%s\n' "${kinds[@]}" | sort | paste -sd ' ')
[[ "$held" == "$wanted" ]] \
    || fail "not what attach = $attach gives: $held instead of $wanted"
