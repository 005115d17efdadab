# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The components of the cluster: their configuration files and command lines. The files are written on the
# machine into nodes/NAME/cfg; paths on command lines are those inside the node (in_node.sh).
#
# Defaults are kept wherever they work, because what is tested here must hold on other people's clusters. What
# differs, and why: no leader election (one of each); limits on requests far above the defaults (tests are
# bursty); an API server that ends within seconds though watches are open; evictions by absolute figures (a disk
# that others fill must not end pods); etcd without fsync (the cluster is thrown away, and survives everything but
# a crash of the machine).

CONTROL_PLANE=(etcd kube-apiserver kube-controller-manager kube-scheduler)
NODE_COMPONENTS=(containerd kubelet kube-proxy)
SANDBOX_IMAGE=sc.test/pause:1
CRUN=/usr/bin/crun

node_components() {
    if [ "$1" = node1 ]; then printf '%s\n' "${CONTROL_PLANE[@]}"; fi
    printf '%s\n' "${NODE_COMPONENTS[@]}"
}

# component_command NODE NAME: sets COMMAND, for start_component.
# shellcheck disable=SC2034 # COMMAND is the caller's
component_command() {
    local cfg=/run/sc-node/state/cfg log=/run/sc-node/state/log pki=/run/sc-node/pki
    case $2 in
    etcd) command_etcd ;;
    kube-apiserver) command_apiserver ;;
    kube-controller-manager) command_controller_manager ;;
    kube-scheduler)
        COMMAND=(kube-scheduler --kubeconfig="$cfg/kube-scheduler.kubeconfig" --leader-elect=false
            --authentication-kubeconfig="$cfg/kube-scheduler.kubeconfig" --bind-address=127.0.0.1
            --authorization-kubeconfig="$cfg/kube-scheduler.kubeconfig")
        ;;
    containerd) COMMAND=(env PATH="$(containerd_path)" containerd --config="$cfg/containerd.toml") ;;
    kubelet)
        COMMAND=(kubelet --config="$cfg/kubelet.yaml" --kubeconfig="$cfg/kubelet.kubeconfig"
            --hostname-override="$1" --node-ip="$(node_address "$1")")
        ;;
    kube-proxy) COMMAND=(kube-proxy --config="$cfg/kube-proxy.yaml") ;;
    *) die "there is no component $2" "they are: ${CONTROL_PLANE[*]} ${NODE_COMPONENTS[*]}" ;;
    esac
}

command_etcd() {
    COMMAND=(etcd --data-dir=/var/lib/etcd --log-level=warn --unsafe-no-fsync
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379
        --listen-peer-urls=http://127.0.0.1:2380)
}

command_apiserver() {
    COMMAND=(kube-apiserver --etcd-servers=http://127.0.0.1:2379 --allow-privileged=true
        --advertise-address="$(node_address node1)" --secure-port=6443
        --service-cluster-ip-range="$SERVICE_NETWORK"
        --client-ca-file="$pki/ca.crt"
        --tls-cert-file="$pki/kube-apiserver.crt" --tls-private-key-file="$pki/kube-apiserver.key"
        --service-account-issuer=https://kubernetes.default.svc
        --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key"
        --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key"
        --requestheader-client-ca-file="$pki/front-proxy-ca.crt"
        --authorization-mode=Node --authorization-mode=RBAC --enable-admission-plugins=NodeRestriction
        --shutdown-send-retry-after=true --max-requests-inflight=3000 --max-mutating-requests-inflight=1000
        --audit-policy-file="$cfg/audit-policy.yaml" --audit-log-path="$log/audit.log"
        --audit-log-maxsize=1000 --audit-log-maxbackup=1)
}

# shellcheck disable=SC2034 # COMMAND is the caller's
command_controller_manager() {
    local kubeconfig=$cfg/kube-controller-manager.kubeconfig
    COMMAND=(kube-controller-manager --kubeconfig="$kubeconfig" --leader-elect=false --bind-address=127.0.0.1
        --authentication-kubeconfig="$kubeconfig" --authorization-kubeconfig="$kubeconfig"
        --use-service-account-credentials=true --service-account-private-key-file="$pki/sa.key"
        --root-ca-file="$pki/ca.crt" --cluster-signing-cert-file="$pki/ca.crt"
        --cluster-signing-key-file="$pki/ca.key" --kube-api-qps=200 --kube-api-burst=400
        --flex-volume-plugin-dir=/var/lib/kubelet/volume-plugins)
    if [ -n "${STOPPABLE_NODE_GRACE:-}" ]; then
        COMMAND+=(--node-monitor-grace-period="$STOPPABLE_NODE_GRACE" --node-monitor-period=1s)
    fi
}

# write_configs NODE: everything in nodes/NODE/cfg.
write_configs() {
    local cfg name
    cfg=$(node_dir "$1")/cfg
    for name in kube-controller-manager kube-scheduler kube-proxy; do
        write_kubeconfig "$name" "$cfg/$name.kubeconfig"
    done
    write_kubeconfig "kubelet-$1" "$cfg/kubelet.kubeconfig"
    printf 'nameserver %s\n' "$DNS_SERVICE_IP" >"$cfg/resolv.conf"
    config_audit_policy >"$cfg/audit-policy.yaml"
    config_containerd >"$cfg/containerd.toml"
    config_crun >"$cfg/crun"
    chmod 755 "$cfg/crun"
    mkdir -p "$cfg/cni"
    config_cni "$1" >"$cfg/cni/10-bridge.conflist"
    config_kubelet "$1" >"$cfg/kubelet.yaml"
    config_kube_proxy "$1" >"$cfg/kube-proxy.yaml"
}

# Every write, once, when it is answered: tests count what our controller writes. Reads are left out.
config_audit_policy() {
    cat <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  verbs: [get, list, watch]
- level: Metadata
YAML
}

# restrict_oom_score_adj: not every machine lets root lower a score. All paths are inside the node; opt and NRI
# would otherwise make directories in the machine's /opt.
config_containerd() {
    if runtime_is_debian; then
        config_containerd_1
    else
        config_containerd_2
    fi
}

# Debian 12's containerd 1.6 has its CRI plugin under another name.
config_containerd_1() {
    local cri='plugins."io.containerd.grpc.v1.cri"'
    cat <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.internal.v1.tracing"]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[$cri]
sandbox_image = "$SANDBOX_IMAGE"
restrict_oom_score_adj = true
[$cri.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/run/sc-node/state/cfg/cni"

[$cri.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[$cri.containerd.runtimes.runc.options]
BinaryName = "$DEBIAN_RUNTIME/usr/sbin/runc"
SystemdCgroup = false

[$cri.containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"
[$cri.containerd.runtimes.crun.options]
BinaryName = "/run/sc-node/state/cfg/crun"
SystemdCgroup = false
TOML
}

config_containerd_2() {
    cat <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs"]

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "$SANDBOX_IMAGE"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "/run/sc-node/state/cfg/cni"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "/run/sc-node/bin/runc"
SystemdCgroup = false

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.crun]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.crun.options]
BinaryName = "/run/sc-node/state/cfg/crun"
SystemdCgroup = false
TOML
}

# A second runtime, Debian's crun, behind the handler of its name: a RuntimeClass chooses it. crun before 1.9 takes no
# ociVersion but 1.0.*, and containerd 2 writes a newer one: a bundle says 1.0.2 before crun sees it. What is newer in
# its other fields crun does not know and leaves out.
config_crun() {
    cat <<SHELL
#!/bin/sh
bundle=
for word in "\$@"; do
    [ "\$bundle" != next ] || bundle=\$word
    [ "\$word" != --bundle ] || bundle=next
done
[ ! -e "\$bundle/config.json" ] ||
    sed -i 's/"ociVersion":"1\.[^"]*"/"ociVersion":"1.0.2"/' "\$bundle/config.json"
exec $CRUN "\$@"
SHELL
}

config_cni() {
    cat <<JSON
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge", "bridge": "pods0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "$(node_pod_network "$1")"}]],
               "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

# failCgroupV1: v1 is what some machines have. serializeImagePulls and the API limits: no test waits for a
# queue. oomScoreAdj 0: the machine's own processes come first.
config_kubelet() {
    cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: /run/sc-node/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: /run/sc-node/pki/kubelet-$1.crt
tlsPrivateKeyFile: /run/sc-node/pki/kubelet-$1.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
maxOpenFiles: $(ulimit -H -n)
clusterDNS: [$DNS_SERVICE_IP]
clusterDomain: cluster.local
resolvConf: /run/sc-node/state/cfg/resolv.conf
volumePluginDir: /var/lib/kubelet/volume-plugins
maxPods: 110
evictionHard: {memory.available: 100Mi, nodefs.available: 1Gi, imagefs.available: 1Gi}
imageGCHighThresholdPercent: 100
serializeImagePulls: false
registerWithTaints: []
syncFrequency: 10s
kubeAPIQPS: 200
kubeAPIBurst: 400
eventRecordQPS: 0
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
YAML
}

# maxPerCore and min 0: the size of the connection table is the whole machine's.
config_kube_proxy() {
    cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $POD_NETWORK
hostnameOverride: $1
oomScoreAdj: 0
clientConnection: {kubeconfig: /run/sc-node/state/cfg/kube-proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0}
YAML
}
