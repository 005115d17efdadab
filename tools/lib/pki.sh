# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The cluster's certificates and kubeconfigs: one authority, one certificate for each component, made anew with
# every new cluster. Keys are P-256, which openssl makes at once. Everything lives in $STATE/pki, mode 0700.

PKI_DAYS=365

# pki_sign NAME SUBJECT [SUBJECT-ALT-NAMES]: $STATE/pki/NAME.{key,crt}, good for servers and clients.
pki_sign() {
    local extensions
    extensions=$(printf 'keyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n%s' \
        "${3:+subjectAltName=$3}")
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -subj "$2" 2>/dev/null |
        openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days "$PKI_DAYS" \
            -extfile <(printf '%s\n' "$extensions") -out "$1.crt" 2>/dev/null ||
        die "openssl could not make the certificate $1 in $STATE/pki"
}

# pki_authority NAME: an authority of its own.
pki_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key" -out "$1.crt" \
        -days "$PKI_DAYS" -subj "/CN=stoppablecontainer-test-$1" \
        -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature" 2>/dev/null ||
        die "openssl could not make a certificate authority in $STATE/pki"
}

pki_create() (
    local names="DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost"
    umask 077
    mkdir -p "$STATE/pki"
    cd "$STATE/pki" || exit
    pki_authority ca
    # Nothing signs with this one: without it the API server's clients complain about its absence for ever.
    pki_authority front-proxy-ca
    openssl ecparam -name prime256v1 -genkey -noout -out sa.key 2>/dev/null
    openssl ec -in sa.key -pubout -out sa.pub 2>/dev/null
    pki_sign kube-apiserver "/CN=kube-apiserver" \
        "$names,IP:127.0.0.1,IP:$API_SERVICE_IP,IP:$(node_address node1)"
    pki_sign kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client"
    pki_sign admin "/O=system:masters/CN=admin"
    pki_sign kube-controller-manager "/CN=system:kube-controller-manager"
    pki_sign kube-scheduler "/CN=system:kube-scheduler"
    pki_sign kube-proxy "/CN=system:kube-proxy"
)

# pki_create_node NODE: the kubelet's certificate, which is also its identity for the Node authorizer.
pki_create_node() (
    umask 077
    cd "$STATE/pki" || exit
    pki_sign "kubelet-$1" "/O=system:nodes/CN=system:node:$1" "DNS:$1,IP:127.0.0.1,IP:$(node_address "$1")"
)

# write_kubeconfig NAME FILE: a kubeconfig that needs no other file, for the certificate NAME.
write_kubeconfig() (
    umask 077
    cat >"$2" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: stoppablecontainer-test
  cluster:
    server: https://$(node_address node1):6443
    certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")
users:
- name: $1
  user:
    client-certificate-data: $(base64 -w0 "$STATE/pki/$1.crt")
    client-key-data: $(base64 -w0 "$STATE/pki/$1.key")
contexts:
- name: $1
  context: {cluster: stoppablecontainer-test, user: $1}
current-context: $1
YAML
)
