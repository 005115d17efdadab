# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The cgroups of a node: one directory of ours in every hierarchy of the machine. All processes of the node are
# in or under it, and it is the root of the node's cgroup namespace, so that the kubelet's own tree grows inside
# it. That also makes it the sure way to find what a killed cluster left behind.
#
# cgroup v1 and hybrid: a directory at the top of each hierarchy. Pure cgroup v2 with systemd: a scope with
# delegation, asked for from systemd, which owns the tree; without systemd a directory at the top. In v2 a cgroup
# that gives controllers to its children may hold no process, so the processes live in a child named system.
# README.md says which of these have been tried.

cgroup_is_v2() { [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; }
cgroup_by_systemd() { cgroup_is_v2 && [ -d /run/systemd/system ]; }

cgroup_name() { printf 'stoppablecontainer-%s-%s\n' "$CLUSTER_ID" "$1"; }

# cgroup_dirs NODE: the node's directory in each hierarchy (of several mounts of one, the first).
cgroup_dirs() {
    local name
    name=$(cgroup_name "$1")
    if cgroup_by_systemd; then
        printf '/sys/fs/cgroup/system.slice/%s.scope\n' "$name"
        return
    fi
    awk -v name="$name" '{
        for (i = 7; $i != "-"; i++) { }
        if (($(i + 1) == "cgroup" || $(i + 1) == "cgroup2") && !seen[$3]++) print $5 "/" name
    }' /proc/self/mountinfo
}

# cgroup_prepare DIR: makes a directory that processes can be put into.
cgroup_prepare() {
    local file parent
    parent=$(dirname "$1")
    mkdir -p "$1"
    # A new v1 cpuset is empty, and refuses processes until it has processors and memory.
    for file in cpuset.cpus cpuset.mems; do
        if [ -e "$1/$file" ] && [ ! -e "$1/cgroup.controllers" ]; then cat "$parent/$file" >"$1/$file"; fi
    done
    if cgroup_is_v2 && ! cgroup_by_systemd; then cgroup_give_controllers "$parent"; fi
}

# cgroup_give_controllers DIR: lets the children of a v2 cgroup use whatever DIR has.
cgroup_give_controllers() {
    local controller
    for controller in $(<"$1/cgroup.controllers"); do
        printf '+%s' "$controller" >"$1/cgroup.subtree_control" ||
            say "warning: cgroup controller $controller cannot be given to the children of $1"
    done
}

# cgroup_launch NODE COMMAND...: becomes COMMAND, in the node's cgroups. Call it in a process of its own.
cgroup_launch() {
    local name dirs dir
    name=$(cgroup_name "$1")
    mapfile -t dirs < <(cgroup_dirs "$1")
    shift
    if cgroup_by_systemd; then
        exec systemd-run --quiet --scope --slice=system.slice --unit="$name" --property=Delegate=yes -- "$@"
    fi
    for dir in "${dirs[@]}"; do
        cgroup_prepare "$dir"
        printf '%s' "$BASHPID" >"$dir/cgroup.procs"
    done
    exec "$@"
}

# cgroup_settle NODE: once the namespaces exist; in v2 moves what runs out of the way and opens the controllers.
cgroup_settle() {
    local dir
    cgroup_is_v2 || return 0
    dir=$(cgroup_dirs "$1")
    mkdir -p "$dir/system"
    wait_until 10 cgroup_moved_down "$dir" || die "processes in $dir could not be moved to its child system"
    cgroup_give_controllers "$dir"
}

# The list of processes changes while they move: look until it is empty.
cgroup_moved_down() {
    local pid pids
    mapfile -t pids <"$1/cgroup.procs"
    for pid in "${pids[@]}"; do printf '%s' "$pid" >"$1/system/cgroup.procs"; done
    [ ${#pids[@]} -eq 0 ]
}

# cgroup_enter NODE: puts the calling (sub)shell into the node's cgroups.
cgroup_enter() {
    local dir
    while read -r dir; do
        if cgroup_is_v2; then dir=$dir/system; fi
        printf '%s' "$BASHPID" >"$dir/cgroup.procs" || return 1
    done < <(cgroup_dirs "$1")
}

# cgroup_pids NODE: every process in the node's cgroups, as the machine numbers them.
cgroup_pids() {
    local dir
    while read -r dir; do
        [ ! -d "$dir" ] || find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null
    done < <(cgroup_dirs "$1") | sort -un
}

cgroup_is_empty() { [ -z "$(cgroup_pids "$1")" ]; }

cgroup_is_gone() {
    local dir status=0
    while read -r dir; do
        [ ! -d "$dir" ] || find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -d "$dir" ] || status=1
    done < <(cgroup_dirs "$1")
    return "$status"
}
