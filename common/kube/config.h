/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the API server is and who we are to it: from a kubeconfig file, or from what the kubelet puts in
 * every pod.
 *
 * Credentials that the source names as files (token, client certificate) are remembered by path and read
 * again by kube_config_reload, since they are replaced while we run: a service account token about every
 * hour, a client certificate by whatever issues it. What the file holds inline never changes.
 *
 * A kubeconfig is YAML; it is read strictly: no anchors, no aliases, no tags, one document, at most
 * LIMIT_KUBECONFIG bytes. What we cannot honour (exec and auth-provider plugins, basic auth, impersonation,
 * a proxy) is refused with a sentence instead of being left out.
 */
#pragma once

#include <stdbool.h>

#include "common/base/err.h"
#include "common/http/http.h"

#define KUBE_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

struct kube_config {
    char *server; /* "https://HOST:PORT", no slash at the end; the host of an IPv6 address in brackets */
    char *namespace; /* of the context, or of the pod; never NULL ("default") */
    char *server_name; /* tls-server-name, or NULL */
    bool insecure; /* insecure-skip-tls-verify */

    char *ca_pem; /* NULL: the system's authorities */
    char *cert_pem; /* NULL: no client certificate */
    char *key_pem;
    char *token; /* NULL: no bearer token */

    char *ca_file; /* where the above came from, NULL when inline */
    char *cert_file;
    char *key_file;
    char *token_file;
};

/* The one way to get a config. kubeconfig: a path (--kubeconfig); NULL or "" means $KUBECONFIG, and when that
 * is not set either, the pod's service account. Errors name the file and the field. */
int kube_config_load(const char *kubeconfig, struct kube_config **ret, struct err *err) _must_check_;

/* The parts of kube_config_load, for tests. dir is where relative paths of the file start. */
int kube_config_from_kubeconfig(const char *text, size_t len, const char *dir, struct kube_config **ret,
        struct err *err) _must_check_;
/* host and port as in KUBERNETES_SERVICE_HOST and _PORT; dir as KUBE_SERVICE_ACCOUNT_DIR. */
int kube_config_in_cluster(const char *host, const char *port, const char *dir, struct kube_config **ret,
        struct err *err) _must_check_;

/* Reads the files again. Returns 1 when anything is different from before, 0 when not, or a negative errno
 * with the config left as it was. */
int kube_config_reload(struct kube_config *config, struct err *err) _must_check_;

/* A view of the config for common/http; valid as long as the config is and is not reloaded. */
struct http_tls kube_config_tls(const struct kube_config *config);

struct kube_config *kube_config_free(
        struct kube_config *config); /* wipes secrets; accepts NULL, returns NULL */
DEFINE_CLEANUP_FUNC(struct kube_config *, kube_config_free);
#define _cleanup_kube_config_ _cleanup_(kube_config_freep)
