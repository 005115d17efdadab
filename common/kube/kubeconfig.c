/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubeconfig format: current-context names a context, which names a cluster and a user.
 *
 * Only what we honour is accepted in the cluster and the user; a field that we do not know could be the one
 * that says who we are, so it is refused by name. What stands beside them (preferences, other contexts,
 * extensions) is not looked at. As in kubectl, *-data wins over the file of the same name, and tokenFile over
 * token.
 */
#include <string.h>

#include "common/base/limits.h"
#include "common/kube/base64.h"
#include "common/kube/config_internal.h"
#include "common/kube/yaml.h"

struct kubeconfig {
    const struct json *root;
    const char *dir;
    struct kube_config *config;
    struct err *err;
};

static const struct {
    const char *field;
    const char *why;
} refused[] = {
        {"exec", "credential plugins are not run; use a token, a tokenFile or a client certificate"},
        {"auth-provider",
                "auth providers are not supported; use a token, a tokenFile or a client certificate"},
        {"username", "the API server knows no passwords since Kubernetes 1.19"},
        {"password", "the API server knows no passwords since Kubernetes 1.19"},
        {"as", "impersonation is not supported"},
        {"as-uid", "impersonation is not supported"},
        {"as-groups", "impersonation is not supported"},
        {"as-user-extra", "impersonation is not supported"},
        {"proxy-url", "a proxy is not supported"},
};

static const char *const cluster_fields[] = {"server", "certificate-authority", "certificate-authority-data",
        "insecure-skip-tls-verify", "tls-server-name", "disable-compression", "extensions", NULL};
static const char *const user_fields[] = {"client-certificate", "client-certificate-data", "client-key",
        "client-key-data", "token", "tokenFile", "extensions", NULL};

static bool is_known(const char *const *known, const char *field)
{
    for (; *known; known++) {
        if (strcmp(*known, field) == 0)
            return true;
    }
    return false;
}

static int check_fields(struct kubeconfig *k, const struct json *object, const char *const *known)
{
    json_for_each (child, object) {
        const char *field = json_key(child);

        if (json_is_null(child) || is_known(known, field))
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
            if (strcmp(refused[i].field, field) == 0)
                return err_say(k->err, ENOTSUP, "%s: %s", field, refused[i].why);
        }
        return err_say(k->err, ENOTSUP, "%s: a field that is not known here", field);
    }
    return 0;
}

/* A string that may be absent, null or empty (all NULL). */
static int text_of(struct kubeconfig *k, const struct json *object, const char *field, const char **ret)
{
    const struct json *node = json_field(object, field);
    const char *text = json_string(node);

    *ret = NULL;
    if (!node || json_is_null(node))
        return 0;
    if (!text)
        return err_say(k->err, EINVAL, "%s: not a string", field);
    if (*text)
        *ret = text;
    return 0;
}

/* contexts, clusters, users: a list of {name: NAME, KIND: {...}}. */
static int find_named(
        struct kubeconfig *k, const char *list, const char *kind, const char *name, const struct json **ret)
{
    json_for_each (entry, json_field(k->root, list)) {
        const char *have = json_str(entry, "name");

        if (!have || strcmp(have, name) != 0)
            continue;
        *ret = json_field(entry, kind);
        if (json_is_object(*ret))
            return 0;
        return err_say(k->err, EINVAL, "%s %s: there is no %s in it", list, name, kind);
    }
    return err_say(k->err, ENOENT, "%s: there is none called \"%s\"", list, name);
}

static int join_path(struct kubeconfig *k, const char *path, char **ret)
{
    int n = path[0] == '/' ? asprintf(ret, "%s", path) : asprintf(ret, "%s/%s", k->dir, path);

    if (n < 0)
        *ret = NULL;
    return n < 0 ? err_set(k->err, ENOMEM, "%s", path) : 0;
}

static int decode_pem(struct kubeconfig *k, const char *data, char **ret)
{
    _cleanup_buf_ struct buf b = BUF_INIT(LIMIT_KUBECONFIG);
    int r = base64_decode(data, &b);

    if (r == -EINVAL)
        return err_say(k->err, EINVAL, "not base64");
    if (r >= 0)
        r = kube_check_pem(buf_str(&b), b.len, k->err);
    if (r >= 0)
        *ret = buf_take(&b, NULL);
    if (b.data)
        explicit_bzero(b.data, b.len);
    return r;
}

/* FIELD-data, else the file that FIELD names. Neither: nothing, and 0. */
static int read_pem_field(
        struct kubeconfig *k, const struct json *object, const char *field, char **ret_pem, char **ret_file)
{
    _cleanup_free_ char *data_field = NULL;
    const char *data, *file;
    int r;

    if (asprintf(&data_field, "%s-data", field) < 0)
        return err_set(k->err, ENOMEM, "%s", field);
    r = text_of(k, object, data_field, &data);
    if (r >= 0)
        r = text_of(k, object, field, &file);
    if (r < 0)
        return r;
    if (data) {
        r = decode_pem(k, data, ret_pem);
        return r < 0 ? err_wrap(k->err, r, "%s", data_field) : 0;
    }
    if (!file)
        return 0;
    r = join_path(k, file, ret_file);
    if (r >= 0)
        r = kube_read_pem(*ret_file, ret_pem, k->err);
    return r < 0 ? err_wrap(k->err, r, "%s", field) : 0;
}

static int read_server(struct kubeconfig *k, const struct json *cluster)
{
    const char *server, *rest;
    size_t len;
    int r = text_of(k, cluster, "server", &server);

    if (r < 0)
        return r;
    if (!server)
        return err_say(k->err, ENOENT, "server: not set");
    rest = strncmp(server, "https://", 8) == 0  ? server + 8
           : strncmp(server, "http://", 7) == 0 ? server + 7
                                                : "";
    len = strlen(server);
    if (!*rest || *rest == '/' || strpbrk(rest, "@?#\\"))
        return err_say(k->err, EINVAL, "server: not a URL of the form https://HOST:PORT");
    for (const char *p = server; *p; p++) {
        if (*p <= ' ' || *p > '~')
            return err_say(k->err, EINVAL, "server: not a URL of the form https://HOST:PORT");
    }
    while (server[len - 1] == '/')
        len--;
    k->config->server = strndup(server, len);
    return k->config->server ? 0 : err_set(k->err, ENOMEM, "server");
}

static int read_insecure(struct kubeconfig *k, const struct json *cluster)
{
    const struct json *node = json_field(cluster, "insecure-skip-tls-verify");

    k->config->insecure = json_bool_or(cluster, "insecure-skip-tls-verify", false);
    if (node && !json_is_null(node) &&
            json_bool_or(cluster, "insecure-skip-tls-verify", true) != k->config->insecure)
        return err_say(k->err, EINVAL, "insecure-skip-tls-verify: neither true nor false");
    if (k->config->insecure && k->config->ca_pem)
        return err_say(k->err, EINVAL,
                "insecure-skip-tls-verify: makes no sense together with a certificate-authority");
    return 0;
}

static int read_cluster(struct kubeconfig *k, const struct json *cluster)
{
    struct kube_config *c = k->config;
    const char *name = NULL;
    int r = check_fields(k, cluster, cluster_fields);

    if (r >= 0)
        r = read_server(k, cluster);
    if (r >= 0)
        r = read_pem_field(k, cluster, "certificate-authority", &c->ca_pem, &c->ca_file);
    if (r >= 0)
        r = read_insecure(k, cluster);
    if (r >= 0)
        r = text_of(k, cluster, "tls-server-name", &name);
    if (r >= 0 && name && !(c->server_name = strdup(name)))
        r = err_set(k->err, ENOMEM, "tls-server-name");
    return r;
}

static int read_tokens(struct kubeconfig *k, const struct json *user)
{
    struct kube_config *c = k->config;
    const char *token, *file;
    int r = text_of(k, user, "token", &token);

    if (r >= 0)
        r = text_of(k, user, "tokenFile", &file);
    if (r < 0)
        return r;
    if (file) {
        r = join_path(k, file, &c->token_file);
        if (r >= 0)
            r = kube_read_token(c->token_file, &c->token, k->err);
        return r < 0 ? err_wrap(k->err, r, "tokenFile") : 0;
    }
    r = token ? kube_clean_token(token, &c->token, k->err) : 0;
    return r < 0 ? err_wrap(k->err, r, "token") : 0;
}

static int read_user(struct kubeconfig *k, const struct json *user)
{
    struct kube_config *c = k->config;
    int r = check_fields(k, user, user_fields);

    if (r >= 0)
        r = read_pem_field(k, user, "client-certificate", &c->cert_pem, &c->cert_file);
    if (r >= 0)
        r = read_pem_field(k, user, "client-key", &c->key_pem, &c->key_file);
    if (r >= 0 && !c->cert_pem != !c->key_pem)
        r = err_say(k->err, EINVAL, "a client-certificate and a client-key need each other");
    if (r >= 0)
        r = read_tokens(k, user);
    if (r >= 0 && strncmp(c->server, "http://", 7) == 0 && (c->token || c->cert_pem))
        r = err_say(k->err, EINVAL, "credentials are not sent to a server without TLS (%s)", c->server);
    return r;
}

static int need_name(struct kubeconfig *k, const struct json *object, const char *field, const char **ret)
{
    int r = text_of(k, object, field, ret);

    if (r >= 0 && !*ret)
        r = err_say(k->err, ENOENT, "%s: not set", field);
    return r;
}

static int read_context(struct kubeconfig *k, const struct json *context)
{
    const char *cluster_name, *user_name, *namespace;
    const struct json *cluster, *user;
    int r = need_name(k, context, "cluster", &cluster_name);

    if (r >= 0)
        r = need_name(k, context, "user", &user_name);
    if (r >= 0)
        r = text_of(k, context, "namespace", &namespace);
    if (r >= 0)
        r = find_named(k, "clusters", "cluster", cluster_name, &cluster);
    if (r >= 0)
        r = find_named(k, "users", "user", user_name, &user);
    if (r < 0)
        return r;
    k->config->namespace = strdup(namespace ? namespace : "default");
    if (!k->config->namespace)
        return err_set(k->err, ENOMEM, "namespace");
    r = read_cluster(k, cluster);
    if (r < 0)
        return err_wrap(k->err, r, "cluster %s", cluster_name);
    r = read_user(k, user);
    return r < 0 ? err_wrap(k->err, r, "user %s", user_name) : 0;
}

int kube_config_from_kubeconfig(
        const char *text, size_t len, const char *dir, struct kube_config **ret, struct err *err)
{
    _cleanup_kube_config_ struct kube_config *config = calloc(1, sizeof(*config));
    _cleanup_json_ struct json *root = NULL;
    struct kubeconfig k = {.dir = dir, .config = config, .err = err};
    const struct json *context;
    const char *name;
    int r;

    if (!config)
        return err_set(err, ENOMEM, "config");
    if (len > LIMIT_KUBECONFIG)
        return err_say(err, E2BIG, "larger than %zu bytes", LIMIT_KUBECONFIG);
    r = yaml_to_json(text, len, &root, err);
    if (r < 0)
        return r;
    k.root = root;
    if (!json_is_object(root))
        return err_say(err, EINVAL, "not a mapping");
    r = need_name(&k, root, "current-context", &name);
    if (r >= 0)
        r = find_named(&k, "contexts", "context", name, &context);
    if (r >= 0)
        r = read_context(&k, context);
    if (r < 0)
        return r;
    *ret = take_ptr(config);
    return 0;
}
