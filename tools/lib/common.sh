# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What every piece of tools/ shares: messages, paths, versions, waiting with a deadline, pid files.
# Sourced, never run. Sets no shell options: the programs do.
#
# A "process stamp" is the text "PID START-TIME BOOT-ID". A pid alone names whatever process has that number
# now; with the start time (field 22 of /proc/PID/stat, in ticks since boot) and the boot id it names one
# process for ever.
#
# shellcheck disable=SC2034 # the files that source this one use the settings

KUBE_VERSION=1.37.2
CONTAINERD_VERSION=2.4.2
RUNC_VERSION=1.5.2
GO_MINIMUM=1.26

CACHE=${STOPPABLE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/stoppablecontainer}
STATE=${STOPPABLE_STATE:-/var/lib/stoppablecontainer-cluster}

# STOPPABLE_CONTAINERD=debian when a cluster is made: Debian's containerd and runc instead of ours.
DEBIAN_RUNTIME=$CACHE/debian-runtime
runtime_is_debian() { [ "$(cat "$STATE/containerd" 2>/dev/null || echo "${STOPPABLE_CONTAINERD:-}")" = debian ]; }

# containerd_path: where containerd is looked for, and by it its shim.
containerd_path() {
    local path=/run/sc-node/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    if runtime_is_debian; then path=$DEBIAN_RUNTIME/usr/bin:$DEBIAN_RUNTIME/usr/sbin:$path; fi
    printf '%s\n' "$path"
}

say() { printf '%s\n' "$*" >&2; }

# step TEXT: one line of progress, with the seconds since the program began.
step() { printf '[%3ds] %s\n' "$SECONDS" "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

need_root() {
    [ "$(id -u)" -eq 0 ] || die "this needs root: it makes namespaces, mounts and network interfaces" \
        "run it again as root (sudo $0 ...)"
}

# wait_until SECONDS COMMAND...: runs COMMAND until it succeeds; fails when SECONDS have passed. Used where
# nothing can be waited on (a file, a socket or a process of somebody else's that is to appear or to go).
wait_until() {
    local deadline=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt "$deadline" ] || return 1
        sleep 0.05
    done
}

# process_stamp PID: prints the stamp of PID; fails when there is no such process.
process_stamp() {
    local stat boot fields
    { read -r stat <"/proc/$1/stat" && read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null || return 1
    # The second field is the program's name in brackets and may hold spaces: count from behind it.
    read -ra fields <<<"${stat##*) }"
    printf '%s %s %s\n' "$1" "${fields[19]}" "$boot"
}

# stamped_pid FILE: prints the pid in a stamp file, if exactly that process is still there and no zombie.
stamped_pid() {
    local stamp stat
    read -r stamp 2>/dev/null <"$1" || return 1
    [ "$(process_stamp "${stamp%% *}")" = "$stamp" ] || return 1
    read -r stat 2>/dev/null <"/proc/${stamp%% *}/stat" || return 1
    [[ ${stat##*) } != Z* ]] || return 1
    printf '%s\n' "${stamp%% *}"
}
