# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A node as a set of Linux namespaces (mount, pid, network, UTS, IPC, cgroup), seen from the machine: switching it
# on, running things in it, switching it off and finding what an earlier one left.
#
# The life of a node is that of its process 1, tools/native/node_init.c. Its stamp is in nodes/NAME/init. Nothing
# that runs in the node outlives it, and nothing of it is a mount of the machine's.

node_dir() { printf '%s/nodes/%s\n' "$STATE" "$1"; }
node_init_pid() { stamped_pid "$(node_dir "$1")/init"; }
node_is_on() { node_init_pid "$1" >/dev/null; }

# nodes_known: the names of the cluster's nodes: node1, and what has a directory or, of a killed cluster whose
# directories are gone, cgroups.
nodes_known() {
    local path
    { echo node1 && for path in "$STATE"/nodes/node* /sys/fs/cgroup{,/*}/"stoppablecontainer-$CLUSTER_ID-node"*; do
        [ ! -d "$path" ] || grep -oE 'node[0-9]+' <<<"${path##*-}"
    done; } | grep -oE 'node[0-9]+$' | sort -uV
}

# node_enter NODE COMMAND...: becomes COMMAND in the node's namespaces, directory / .
node_enter() {
    local pid
    pid=$(node_init_pid "$1") || die "$1 is not running" "start the cluster with: tools/cluster up"
    shift
    exec nsenter --target "$pid" --mount --uts --ipc --net --pid --cgroup -- \
        env -i HOME=/root TERM="${TERM:-dumb}" CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 \
        PATH=/run/sc-node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# in_node NODE FUNCTION ARGUMENT...: calls a function of in_node.sh there, in the node's cgroups.
in_node() (
    local text
    exec 9>&- # the lock on the cluster must not stay with a daemon
    text="set -u; $(cat "$TOOLS/lib/common.sh" "$TOOLS/lib/in_node.sh")"$'\n''"$@"'
    cgroup_enter "$1" || die "could not enter the cgroups of $1"
    node_enter "$1" bash -c "$text" in_node "${@:2}"
)

# node_launch NODE: makes the namespaces and process 1 in them, and waits until it is there.
node_launch() {
    local dir
    dir=$(node_dir "$1")
    (cgroup_launch "$1" setsid unshare --fork --propagation private --mount --uts --ipc --net --pid --cgroup -- \
        bash "$TOOLS/lib/become_init.sh" "$TOOLS/lib/common.sh" "$dir/init" "$1" "$BIN/node_init") \
        </dev/null >"$dir/log/init.log" 2>&1 9>&- &
    wait_until 10 node_is_on "$1" || die "the namespaces of $1 could not be made" "read $dir/log/init.log"
}

# node_mounts_are_apart NODE: no mount of the node may propagate to or from a mount of the machine.
node_mounts_are_apart() {
    local shared
    shared=$(awk '{ for (i = 7; $i != "-"; i++) { split($i, tag, ":"); if (tag[1] != "unbindable") print tag[2] } }' \
        "/proc/$(node_init_pid "$1")/mountinfo" | sort -u |
        comm -12 - <(awk '{ for (i = 7; $i != "-"; i++) { split($i, tag, ":"); print tag[2] } }' \
            /proc/self/mountinfo | sort -u))
    [ -z "$shared" ]
}

# node_disk NODE: gives a new node a disk of its own, of STOPPABLE_NODE_DISK. in_node.sh mounts it
# by a loop device that goes with its mount, which goes with the node.
node_disk() {
    mkdir -p "$(node_dir "$1")"
    if ! truncate -s "$STOPPABLE_NODE_DISK" "$(node_dir "$1")/disk" ||
        ! mkfs.ext4 -q -m 0 "$(node_dir "$1")/disk"; then
        die "no disk of $STOPPABLE_NODE_DISK could be made for $1"
    fi
}

# node_on NODE: switches the node on, on the disk that it has.
node_on() {
    local dir
    dir=$(node_dir "$1")
    mkdir -p "$dir"/{cfg,log,var}
    rm -f "$dir/off"
    node_launch "$1"
    cgroup_settle "$1"
    in_node "$1" node_mounts "$dir" "$STATE/pki" "$BIN" || die "the mounts of $1 could not be made"
    node_mounts_are_apart "$1" ||
        die "mounts of $1 share propagation with this machine's, which must never be" "tools/cluster down"
    network_attach "$1"
}

kill_pids() {
    local pid
    for pid in "$@"; do kill -KILL "$pid" 2>/dev/null || :; done
}

# node_off NODE: ends every process, and removes what the kernel does not remove by itself. Also right for a node
# that is half made or was killed: whatever is there goes. Processes are found by the node's cgroups.
node_off() {
    local pids first deadline=$((SECONDS + 60))
    mapfile -t first < <(cgroup_pids "$1")
    if pids=$(node_init_pid "$1"); then kill_pids "$pids"; fi
    while ! cgroup_is_empty "$1"; do
        mapfile -t pids < <(cgroup_pids "$1")
        [ "$SECONDS" -lt "$deadline" ] || die "processes of $1 do not end: ${pids[*]}" \
            "they are stuck in the kernel (a file system that does not answer?); then run this again"
        kill_pids "${pids[@]}"
        sleep 0.05
    done
    network_detach "$1" || die "could not remove the interface $(veth_name "$1")"
    wait_until 20 cgroup_is_gone "$1" || die "cgroup directories of $1 stay behind:" "$(cgroup_dirs "$1")"
    rm -f "$(node_dir "$1")/init"
    # The last zombie is the machine's own init's to collect, which may take it a moment.
    wait_until 5 pids_are_gone "${first[@]}" || :
}

pids_are_gone() {
    local pid
    for pid in "$@"; do [ ! -d "/proc/$pid" ] || return 1; done
}
