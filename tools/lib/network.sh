# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The wires: a veth pair from the machine to each node, one end of which is the node's eth0, and one between each two
# nodes, whose ends are named after the other node (to-node2). The machine has the first address of a /24, node N the
# address N + 1; every address is a /32, and a route leads to each over its own wire, to a node's pods too. Nothing on
# the machine forwards, bridges or translates: a pod cannot reach anything beyond the machine's end, and the machine's
# firewall is never touched.
#
# A node is cut off by a firewall of its own that drops what comes or goes on any wire, without a word to either side:
# its processes go on, and pods of one node still reach each other.
#
# The /24 is $STOPPABLE_SUBNET, or the first of some in the ranges set aside for tests (RFC 5737, RFC 2544) that
# overlaps no address, route, name server or /etc/hosts entry of the machine. Such a range can also be in use beyond
# the default route, where nothing here tells of it: that is what the setting is for, and why the two documentation
# ranges that test laboratories like best are not among them. It is chosen when a cluster is made and kept with it.
#
# shellcheck disable=SC2034 # the files sourced with this one use the networks

SUBNET_CANDIDATES=(198.51.100.0/24 198.18.{51..58}.0/24)

# The networks inside: they exist only in the nodes' network namespaces.
POD_NETWORK=10.88.0.0/16
SERVICE_NETWORK=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_SERVICE_IP=10.96.0.10

# choose_subnet CANDIDATE...: prints the first that overlaps nothing. Arguments that are no /24 are an error.
choose_subnet() {
    { ip -4 -o addr show | awk '{ print $4 }' && ip -4 route show table all | awk '{ print $1, $2 }' &&
        awk '{ print $1, $2 }' /etc/resolv.conf /etc/hosts; } |
        python3 -c '
import ipaddress, sys
used = []
for word in sys.stdin.read().split():
    try:
        used.append(ipaddress.IPv4Network(word, strict=False))
    except ValueError:
        pass  # a word that is no IPv4 address
for text in sys.argv[1:]:
    try:
        subnet = ipaddress.IPv4Network(text)
        assert subnet.prefixlen == 24
    except (ValueError, AssertionError):
        sys.exit("not an IPv4 /24: " + text)
    if not any(subnet.overlaps(other) for other in used if other.prefixlen > 0):
        print(subnet)
        break
else:
    sys.exit("every one overlaps an address or a route of this machine: " + " ".join(sys.argv[1:]))
' "$@"
}

# network_choose: writes the cluster's subnet into its state, once.
network_choose() {
    local subnet candidates=("${SUBNET_CANDIDATES[@]}")
    [ -s "$STATE/subnet" ] && return
    [ -z "${STOPPABLE_SUBNET:-}" ] || candidates=("$STOPPABLE_SUBNET")
    subnet=$(choose_subnet "${candidates[@]}") ||
        die "no subnet for the cluster's network" "set STOPPABLE_SUBNET to an IPv4 /24 that nothing here uses"
    printf '%s\n' "$subnet" >"$STATE/subnet"
}

# subnet_address N: the Nth address of the cluster's subnet.
subnet_address() {
    local subnet
    read -r subnet <"$STATE/subnet" || die "$STATE/subnet is missing: tools/cluster down, then up"
    printf '%s\n' "${subnet%.*}.$1"
}

node_index() { printf '%s\n' "${1#node}"; }
node_address() { subnet_address $(($(node_index "$1") + 1)); }
node_pod_network() { printf '10.88.%d.0/24\n' $(($(node_index "$1") - 1)); }
machine_address() { subnet_address 1; }

# veth_name NODE: the machine's end. At most 15 characters, different for every cluster.
veth_name() { printf 'sc%s-n%s\n' "$CLUSTER_ID" "$(node_index "$1")"; }

# network_attach NODE: makes its wires to the machine and to every other node that is on, and sets all ends up.
network_attach() {
    local veth other
    veth=$(veth_name "$1")
    if ! { ip link add "$veth" type veth peer name eth0 netns "$(node_init_pid "$1")" &&
        ip addr add "$(machine_address)/32" dev "$veth" && ip link set "$veth" up &&
        ip route add "$(node_address "$1")" dev "$veth" src "$(machine_address)" &&
        in_node "$1" node_network "$(node_address "$1")" "$(machine_address)"; }; then
        die "could not connect $1 to this machine with the interface $veth"
    fi
    for other in "${NODES[@]}"; do
        if [ "$other" != "$1" ] && node_is_on "$other"; then network_link "$1" "$other"; fi
    done
}

# network_link NODE OTHER: the wire between two nodes.
network_link() {
    if ! { nsenter --target "$(node_init_pid "$1")" --net ip link add "to-$2" type veth \
        peer name "to-$1" netns "$(node_init_pid "$2")" &&
        in_node "$1" node_link "to-$2" "$(node_address "$1")" "$(node_address "$2")" "$(node_pod_network "$2")" &&
        in_node "$2" node_link "to-$1" "$(node_address "$2")" "$(node_address "$1")" "$(node_pod_network "$1")"; }; then
        die "could not connect $1 with $2"
    fi
}

# network_detach NODE: at once; the kernel takes a dead node's interfaces back some time later.
network_detach() {
    local veth other pid
    veth=$(veth_name "$1")
    if ip link show "$veth" >/dev/null 2>&1; then ip link delete "$veth" || return 1; fi
    for other in "${NODES[@]}"; do
        if [ "$other" != "$1" ] && pid=$(node_init_pid "$other"); then
            nsenter --target "$pid" --net ip link delete "to-$1" 2>/dev/null || :
        fi
    done
}
