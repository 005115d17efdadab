/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the API server is and who we are: choice of the source, the pod's service account, and the files that
 * credentials come from, which are read whole, checked, and read again on demand.
 */
#include "common/kube/config.h"

#include <fcntl.h>
#include <string.h>

#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/num.h"
#include "common/kube/config_internal.h"

enum { PORT_MAX = 65535 };

#define HOST_CHARACTERS "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.:-"

void kube_replace_secret(char **slot, char *value)
{
    if (*slot) {
        explicit_bzero(*slot, strlen(*slot));
        free(*slot);
    }
    *slot = value;
}

struct kube_config *kube_config_free(struct kube_config *config)
{
    if (!config)
        return NULL;
    char **texts[] = {&config->server, &config->namespace, &config->server_name, &config->ca_pem,
            &config->cert_pem, &config->key_pem, &config->token, &config->ca_file, &config->cert_file,
            &config->key_file, &config->token_file};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        kube_replace_secret(texts[i], NULL);
    free(config);
    return NULL;
}

struct http_tls kube_config_tls(const struct kube_config *config)
{
    return (struct http_tls){
            .ca_pem = config->ca_pem,
            .cert_pem = config->cert_pem,
            .key_pem = config->key_pem,
            .server_name = config->server_name,
            .insecure = config->insecure,
    };
}

int kube_check_pem(const char *text, size_t len, struct err *err)
{
    if (memchr(text, '\0', len))
        return err_say(err, EBADMSG, "a NUL byte in a PEM file");
    if (!memmem(text, len, "-----BEGIN ", 11))
        return err_say(err, EBADMSG, "no PEM block (\"-----BEGIN ...\") in it");
    return 0;
}

int kube_read_pem(const char *path, char **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_KUBECONFIG);
    int r = file_read_at(AT_FDCWD, path, &b, err);

    if (r < 0)
        return r;
    r = kube_check_pem(buf_str(&b), b.len, err);
    if (r < 0)
        return err_wrap(err, r, "%s", path);
    *ret = buf_take(&b, NULL);
    return *ret ? 0 : err_set(err, ENOMEM, "%s", path);
}

int kube_clean_token(const char *text, char **ret, struct err *err)
{
    size_t len;

    text += strspn(text, " \t\r\n");
    len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        len--;
    if (len == 0)
        return err_say(err, EBADMSG, "the token is empty");
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~')
            return err_say(err, EBADMSG, "the token has a byte at %zu that no HTTP header may carry", i);
    }
    *ret = strndup(text, len);
    return *ret ? 0 : err_set(err, ENOMEM, "token");
}

int kube_read_token(const char *path, char **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_TOKEN);
    int r = file_read_at(AT_FDCWD, path, &b, err);

    if (r < 0)
        return r;
    if (strlen(buf_str(&b)) != b.len)
        r = err_say(err, EBADMSG, "a NUL byte in the token");
    else
        r = kube_clean_token(buf_str(&b), ret, err);
    if (b.data)
        explicit_bzero(b.data, b.len);
    return r < 0 ? err_wrap(err, r, "%s", path) : 0;
}

/* The namespace file is a courtesy of the kubelet: without it the pod's namespace is "default" to us. One that cannot be
 * read just now is not without it: a lease in another namespace would make two leaders. */
static int read_namespace(const char *path, char **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_NAMESPACE + 1);
    const char *text = "default";
    int r = file_read_at(AT_FDCWD, path, &b, err);

    if (r < 0 && err_is_passing(r))
        return r;
    err_clear(err);
    if (r >= 0 && b.len > 0)
        text = buf_str(&b);
    *ret = strndup(text, strcspn(text, " \t\r\n"));
    return *ret ? 0 : err_set(err, ENOMEM, "%s", path);
}

static int service_url(const char *host, const char *port, char **ret, struct err *err)
{
    const bool v6 = strchr(host, ':') != NULL;
    uint64_t number;

    if (!*host || strspn(host, HOST_CHARACTERS) != strlen(host))
        return err_say(err, EINVAL, "KUBERNETES_SERVICE_HOST: no host name or address: %s", host);
    if (num_parse_u64(port, 1, PORT_MAX, &number) < 0)
        return err_say(err, EINVAL, "KUBERNETES_SERVICE_PORT: no port number: %s", port);
    if (asprintf(ret, "https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port) < 0)
        return err_set(err, ENOMEM, "address of the API server");
    return 0;
}

static int read_file_of(const char *dir, const char *name, char **ret_path)
{
    return asprintf(ret_path, "%s/%s", dir, name) < 0 ? -ENOMEM : 0;
}

static int fill_in_cluster(struct kube_config *config, const char *dir, struct err *err)
{
    _cleanup_free_ char *namespace_file = NULL;
    int r;

    if (read_file_of(dir, "token", &config->token_file) < 0 ||
            read_file_of(dir, "ca.crt", &config->ca_file) < 0 ||
            read_file_of(dir, "namespace", &namespace_file) < 0)
        return err_set(err, ENOMEM, "service account");
    r = kube_read_token(config->token_file, &config->token, err);
    if (r < 0)
        return r;
    r = kube_read_pem(config->ca_file, &config->ca_pem, err);
    if (r < 0)
        return r;
    return read_namespace(namespace_file, &config->namespace, err);
}

int kube_config_in_cluster(
        const char *host, const char *port, const char *dir, struct kube_config **ret, struct err *err)
{
    _cleanup_kube_config_ struct kube_config *config = calloc(1, sizeof(*config));
    int r;

    if (!config)
        return err_set(err, ENOMEM, "config");
    r = service_url(host, port, &config->server, err);
    if (r < 0)
        return r;
    r = fill_in_cluster(config, dir, err);
    if (r < 0)
        return err_wrap(err, r, "the pod's service account");
    *ret = take_ptr(config);
    return 0;
}

static int load_file(const char *path, struct kube_config **ret, struct err *err)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_KUBECONFIG);
    _cleanup_free_ char *dir = NULL;
    const char *slash = strrchr(path, '/');
    int r;

    if (strchr(path, ':'))
        return err_say(err, EINVAL, "KUBECONFIG names several files (%s); name the one to use", path);
    dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    if (!dir)
        return err_set(err, ENOMEM, "kubeconfig %s", path);
    r = file_read_at(AT_FDCWD, path, &b, err);
    if (r >= 0)
        r = kube_config_from_kubeconfig(buf_str(&b), b.len, dir, ret, err);
    if (b.data)
        explicit_bzero(b.data, b.len);
    return r < 0 ? err_wrap(err, r, "kubeconfig %s", path) : 0;
}

int kube_config_load(const char *kubeconfig, struct kube_config **ret, struct err *err)
{
    const char *host, *port;

    if (!kubeconfig || !*kubeconfig)
        kubeconfig = getenv("KUBECONFIG");
    if (kubeconfig && *kubeconfig)
        return load_file(kubeconfig, ret, err);
    host = getenv("KUBERNETES_SERVICE_HOST");
    port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !port)
        return err_say(err, ENOENT,
                "no API server is known: give --kubeconfig, set KUBECONFIG, or run in a pod of the cluster");
    return kube_config_in_cluster(host, port, KUBE_SERVICE_ACCOUNT_DIR, ret, err);
}

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

int kube_config_reload(struct kube_config *config, struct err *err)
{
    const struct {
        const char *file;
        char **slot;
        int (*read)(const char *path, char **ret, struct err *err);
    } sources[] = {
            {config->ca_file, &config->ca_pem, kube_read_pem},
            {config->cert_file, &config->cert_pem, kube_read_pem},
            {config->key_file, &config->key_pem, kube_read_pem},
            {config->token_file, &config->token, kube_read_token},
    };
    char *fresh[ARRAY_SIZE(sources)] = {NULL};
    int changed = 0, r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(sources) && r >= 0; i++)
        r = sources[i].file ? sources[i].read(sources[i].file, &fresh[i], err) : 0;
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        if (r >= 0 && fresh[i] && !same(fresh[i], *sources[i].slot)) {
            kube_replace_secret(sources[i].slot, fresh[i]);
            changed = 1;
        } else {
            kube_replace_secret(&fresh[i], NULL);
        }
    }
    return r < 0 ? r : changed;
}
