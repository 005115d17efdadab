# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Making a cluster, mending it and removing it: the order of everything in the other pieces.
#
# Files in $STATE that say how far a cluster is:
#   made     it was complete once and has not been taken down: what is missing of it is started again
#   kept     it was taken down with --keep-disk: the next cluster goes on with its disk, keys and addresses
#   nodes/NAME/off   that node was switched off: up switches it on again, on its disk
# Without made or kept, whatever is found is half made or was killed: it is cleared away first.

# admin ARGUMENT...: kubectl, as administrator, with the programs that the cluster was made with.
admin() { KUBECONFIG=$STATE/kubeconfig "$STATE/bin/kubectl" "$@"; }

# --- components -------------------------------------------------------------------------------------------------

start_component() {
    local COMMAND=()
    component_command "$1" "$2"
    in_node "$1" component_start "$2" "${COMMAND[@]}" || die "$2 could not be started on $1"
}

component_log() { printf '%s/log/%s.log\n' "$(node_dir "$1")" "$2"; }

# component_works NODE NAME: one look, no waiting.
component_works() {
    case $2 in
    kube-apiserver) [ "$(admin get --raw /readyz --request-timeout=5s 2>/dev/null)" = ok ] ;;
    etcd) in_node "$1" component_alive etcd ;;
    containerd) in_node "$1" ctr --timeout 5s version >/dev/null 2>&1 ;;
    kubelet) [ "$(admin get --raw "/api/v1/nodes/$1/proxy/healthz" --request-timeout=5s 2>/dev/null)" = ok ] ;;
    *) in_node "$1" component_alive "$2" ;;
    esac
}

component_works_or_died() { component_works "$1" "$2" || in_node "$1" component_dead "$2"; }

# await_component NODE NAME SECONDS: until it works; an error at once if it ended.
await_component() {
    local log
    log=$(component_log "$1" "$2")
    if wait_until "$3" component_works_or_died "$1" "$2" && in_node "$1" component_alive "$2"; then return; fi
    say "--- the end of $log:"
    tail -n 8 "$log" | cut -c1-300 >&2
    die "$2 on $1 does not work: it ended, or was not ready within $3 s" "read $log"
}

dead_components() {
    local names
    mapfile -t names < <(node_components "$1")
    in_node "$1" components_dead "${names[@]}"
}

node_condition_ready() {
    [ "$(admin get node "$1" --request-timeout=5s \
        -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}

# is_healthy: everything runs, and the API server and the nodes say that they are ready.
is_healthy() {
    local node
    for node in "${NODES[@]}"; do
        node_is_on "$node" && [ -z "$(dead_components "$node")" ] && node_condition_ready "$node" || return 1
    done
}

# --- up ---------------------------------------------------------------------------------------------------------

check_programs() {
    local program missing=()
    for program in ip nft iptables conntrack openssl unshare nsenter setsid flock mount python3 musl-gcc hostname \
        "$CRUN"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    [ -x /usr/lib/cni/bridge ] || missing+=(/usr/lib/cni/bridge)
    [ ${#missing[@]} -eq 0 ] ||
        die "missing on this machine: ${missing[*]}" "install all that is needed with: tools/install-deps"
}

# A node covers /run with its own, and overlayfs cannot have its writable layer on overlayfs.
check_directories() {
    local path kind
    for path in "$STATE" "$CACHE"; do
        [[ $(realpath -m "$path") != /run/* ]] || die "$path is under /run, which a node covers with its own"
    done
    path=$STATE
    until [ -d "$path" ]; do path=$(dirname "$path"); done
    kind=$(stat -f -c %T "$path")
    case $kind in
    tmpfs | ramfs | overlayfs)
        die "$STATE is on $kind; containers need a disk" "set STOPPABLE_STATE to a directory on a disk"
        ;;
    esac
}

wipe_state() {
    if awk -v top="$STATE/" 'index($5 "/", top) == 1 { found = 1 } END { exit !found }' /proc/self/mountinfo; then
        die "something is mounted under $STATE on this machine: not removing it" "see: grep $STATE /proc/self/mountinfo"
    fi
    rm -rf --one-file-system "$STATE"
}

# clear_remains: leaves no trace of what ran, and none of its disk unless that is to be kept.
clear_remains() {
    local node
    for node in "${NODES[@]}"; do node_off "$node"; done
    rm -f "$STATE/made"
    [ -e "$STATE/kept" ] || wipe_state
}

# nodes_at_least COUNT: adds to NODES what is missing of so many.
nodes_at_least() {
    local n
    for ((n = 1; n <= $1; n++)); do [[ " ${NODES[*]} " == *" node$n "* ]] || NODES+=("node$n"); done
}

# prepare_node NODE: its keys, which it keeps, and its configuration.
prepare_node() {
    [ -e "$STATE/pki/kubelet-$1.crt" ] || pki_create_node "$1"
    if [ -n "${STOPPABLE_NODE_DISK:-}" ] && [ ! -d "$(node_dir "$1")" ]; then node_disk "$1"; fi
    mkdir -p "$(node_dir "$1")"/{cfg,log,var}
    write_configs "$1"
}

prepare_state() {
    local node
    (umask 077 && mkdir -p "$STATE")
    [ -e "$STATE/kept" ] || printf '%s\n' "${STOPPABLE_CONTAINERD:-}" >"$STATE/containerd"
    ensure_debian_runtime
    network_choose
    [ -e "$STATE/kept" ] || pki_create
    write_kubeconfig admin "$STATE/kubeconfig"
    ln -sfn "$BIN" "$STATE/bin"
    for node in "${NODES[@]}"; do prepare_node "$node"; done
}

load_image() { in_node "$1" ctr --namespace k8s.io images import --local - <"$2"; }

# start_all: also right where some run already. What waits for something else is started after it.
start_all() {
    local node name
    start_component node1 etcd
    start_component node1 kube-apiserver
    for node in "${NODES[@]}"; do start_component "$node" containerd; done
    for node in "${NODES[@]}"; do start_runtime "$node"; done
    start_control_plane
    for node in "${NODES[@]}"; do
        for name in kubelet kube-proxy; do start_component "$node" "$name"; done
    done
}

start_runtime() {
    start_component "$1" containerd
    await_component "$1" containerd 30
    load_image "$1" "$STATE/bin/pause.tar" >/dev/null || die "the sandbox image could not be loaded into $1"
}

start_control_plane() {
    local name
    for name in etcd kube-apiserver; do start_component node1 "$name"; done
    step "waiting for the API server"
    await_component node1 kube-apiserver 90
    for name in kube-controller-manager kube-scheduler; do start_component node1 "$name"; done
}

await_node() {
    step "waiting for $1 to be Ready"
    await_component "$1" kubelet 60
    wait_until 60 node_condition_ready "$1" ||
        die "$1 is not Ready after 60 s" "see: tools/cluster kubectl describe node $1" \
            "and $(component_log "$1" kubelet)"
}

# await_cluster: until a pod can be made and will be started.
await_cluster() {
    local node
    for node in "${NODES[@]}"; do await_node "$node"; done
    admin wait --for=create serviceaccount/default --timeout=60s >/dev/null ||
        die "the controller manager made no ServiceAccount" "read $(component_log node1 kube-controller-manager)"
}

cluster_exists() { [ -e "$STATE/made" ] && { node_is_on node1 || [ -e "$(node_dir node1)/off" ]; }; }

# mend_nodes: on with those that are new or off, and no node stays cut off.
mend_nodes() {
    local node
    for node in "${NODES[@]}"; do
        if node_is_on "$node"; then
            in_node "$node" node_heal
        else
            prepare_node "$node"
            node_on "$node"
        fi
    done
}

# cluster_up COUNT: with at least so many nodes.
cluster_up() {
    local node
    check_programs
    lock_cluster
    mapfile -t NODES < <(nodes_known)
    if cluster_exists; then nodes_at_least "$1"; fi
    if [ -e "$STATE/made" ] && is_healthy; then
        say "the cluster is up"
        return
    fi
    check_directories
    ensure_binaries
    if cluster_exists; then
        step "starting again what does not run of the cluster"
        mend_nodes
    else
        clear_remains
        step "making the cluster in $STATE"
        [ -e "$STATE/kept" ] || NODES=()
        nodes_at_least "$1"
        prepare_state
        for node in "${NODES[@]}"; do node_on "$node"; done
    fi
    start_all
    await_cluster
    touch "$STATE/made"
    rm -f "$STATE/kept"
    step "the cluster is up: tools/cluster kubectl ..., or KUBECONFIG=$STATE/kubeconfig"
}

# --- one node ---------------------------------------------------------------------------------------------------

# power_off NODE: as when the power fails; its disk is kept.
power_off() {
    touch "$(node_dir "$1")/off"
    node_off "$1"
}

power_on() {
    local name
    if ! node_is_on "$1"; then node_on "$1"; fi
    if [ "$1" = node1 ]; then
        start_control_plane
    fi
    start_runtime "$1"
    for name in kubelet kube-proxy; do start_component "$1" "$name"; done
    await_node "$1"
}

# remove_node NODE: it is gone for good, with its disk. What the API server has of it stays there.
remove_node() {
    node_off "$1"
    rm -rf --one-file-system "$(node_dir "$1")"
    rm -f "$STATE/pki/kubelet-$1".{key,crt}
}

# --- down -------------------------------------------------------------------------------------------------------

# cluster_down [keep]
cluster_down() {
    lock_cluster
    mapfile -t NODES < <(nodes_known)
    if [ "${1:-}" = keep ]; then
        [ -e "$STATE/made" ] || [ -e "$STATE/kept" ] || die "there is no complete cluster whose disk could be kept"
        touch "$STATE/kept"
    else
        rm -f "$STATE/kept"
    fi
    clear_remains
    say "the cluster is down"
}
