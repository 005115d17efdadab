# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What runs inside a node's namespaces. tools/lib/node.sh hands this text, after that of common.sh, to a shell in
# the node and calls one function of it; the checkout itself may not be visible there.
#
# The node's own directories, all of which vanish with it:
#   /run/sc-node/bin     the programs (from the cache)          /run/sc-node/pki    the cluster's certificates
#   /run/sc-node/state   the node's cfg/, log/ and var/         /run/sc-node/pids   a stamp file for each component

NODE_RUN=/run/sc-node

# node_mounts STATE-OF-NODE PKI BIN: gives the node its own /proc, /sys, /run, /tmp and /var. The namespace was
# made with every mount private; then it is made shared within itself, as the kubelet and Bidirectional volumes
# need it. What is bound must not lie under /run: it is covered first.
node_mounts() {
    set -e
    mount --make-rshared /
    mount -t proc -o nosuid,nodev,noexec proc /proc
    mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
    node_mount_cgroups
    mount -t tmpfs -o mode=755,nosuid,nodev run /run
    mkdir -p $NODE_RUN/{bin,state,pki,pids} /run/lock
    mount --bind "$3" $NODE_RUN/bin
    mount --bind "$1" $NODE_RUN/state
    mount --bind "$2" $NODE_RUN/pki
    if [ -e "$1/disk" ]; then mount -o loop "$1/disk" /var; else mount --bind "$1/var" /var; fi
    mkdir -p /var/{cache,lib,log,spool,tmp} /var/lib/{kubelet,containerd,etcd,stoppablecontainer}
    chmod 1777 /var/tmp
    ln -sfn /run /var/run
    ln -sfn /run/lock /var/lock
    if [ -e $NODE_RUN/state/disk ]; then # a disk that may become full: the cluster's state must not be on it
        mkdir -p $NODE_RUN/state/etcd
        mount --bind $NODE_RUN/state/etcd /var/lib/etcd
    fi
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp /tmp
    node_own_sysctls
}

# The same layout that the machine has, seen from the node's cgroup namespace.
node_mount_cgroups() {
    local controllers name part
    if grep -q '^[1-9]' /proc/self/cgroup; then
        mount -t tmpfs -o mode=755,nosuid,nodev,noexec cgroup /sys/fs/cgroup
    else
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        return
    fi
    while IFS=: read -r _ controllers _; do
        name=${controllers#name=}
        [ -n "$name" ] || continue
        mkdir "/sys/fs/cgroup/$name"
        case $controllers in
        name=*) mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/$name" ;;
        *) mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$name" ;;
        esac
        for part in ${name//,/ }; do [ -e "/sys/fs/cgroup/$part" ] || ln -s "$name" "/sys/fs/cgroup/$part"; done
    done </proc/self/cgroup
}

# The kubelet sets these settings of the whole kernel, which has no namespace for them. It finds files of ours in
# their place that hold the values it wants, so the machine keeps its own.
node_own_sysctls() {
    local setting path
    mkdir $NODE_RUN/sysctl
    for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
        kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
        path=${setting%=*}
        echo "${setting#*=}" >"$NODE_RUN/sysctl/${path##*/}"
        mount --bind "$NODE_RUN/sysctl/${path##*/}" "/proc/sys/$path"
    done
}

# node_network ADDRESS GATEWAY
node_network() {
    set -e
    ip link set lo up
    ip addr add "$1/32" dev eth0
    ip link set eth0 up
    ip route add "$2" dev eth0 src "$1"
    ip route add default via "$2"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    # Where the kernel has bridge netfilter, answers of a Service to a pod on the same bridge need it.
    if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
        echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
    fi
}

# node_link INTERFACE ADDRESS PEER POD-NETWORK: this end of the wire to another node. It has the node's address too:
# what is translated on its way out (CNI's ipMasq) needs one there.
node_link() {
    set -e
    ip addr add "$2/32" dev "$1"
    ip link set "$1" up
    ip route add "$3" dev "$1" src "$2"
    ip route add "$4" via "$3" dev "$1" onlink src "$2"
}

# node_cut: what comes or goes on any wire is dropped, as when all cables are pulled.
node_cut() {
    nft -f - <<'NFT'
table inet sc_cut {
    chain from {
        type filter hook prerouting priority raw
        iifname "eth0" drop
        iifname "to-*" drop
    }
    chain to {
        type filter hook postrouting priority raw
        oifname "eth0" drop
        oifname "to-*" drop
    }
}
NFT
}

node_is_cut() { nft list table inet sc_cut >/dev/null 2>&1; }
node_heal() { ! node_is_cut || nft delete table inet sc_cut; }

# component_start NAME COMMAND...: starts a daemon unless it runs, as a child of the node's process 1.
component_start() {
    local name=$1 stamp
    shift
    stamped_pid "$NODE_RUN/pids/$name" >/dev/null && return
    ulimit -n "$(ulimit -H -n)"
    setsid "$@" </dev/null >>"$NODE_RUN/state/log/$name.log" 2>&1 &
    stamp=$(process_stamp $!) || return 1
    printf '%s\n' "$stamp" >"$NODE_RUN/pids/$name"
}

component_alive() { stamped_pid "$NODE_RUN/pids/$1" >/dev/null; }
component_dead() { ! component_alive "$1"; }

# component_signal NAME SIGNAL
component_signal() {
    local pid
    pid=$(stamped_pid "$NODE_RUN/pids/$1") || { say "$1 is not running" && return 1; }
    kill -s "$2" "$pid"
}

# component_stop NAME SECONDS: SIGTERM, and SIGKILL when it has not ended in time.
component_stop() {
    component_alive "$1" || return 0
    component_signal "$1" TERM
    if ! wait_until "$2" component_dead "$1"; then
        say "warning: $1 did not end within $2 s of SIGTERM: killing it"
        component_signal "$1" KILL
        wait_until 10 component_dead "$1"
    fi
}

# components_dead NAME...: prints the names of those that do not run.
components_dead() {
    local name
    for name in "$@"; do component_alive "$name" || printf '%s\n' "$name"; done
}
