/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kubeconfig files, good and bad with the sentences that a person then reads, and the pod's service account.
 */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/kube/base64.h"
#include "common/kube/config.h"
#include "common/kube/yaml.h"

/* "-----BEGIN X-----\n" and "-----BEGIN Y-----\n" */
#define PEM_X "LS0tLS1CRUdJTiBYLS0tLS0K"
#define PEM_Y "LS0tLS1CRUdJTiBZLS0tLS0K"

static char dir[] = "/tmp/sc-test-XXXXXX";

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
    static const char *const names[] = {"token", "ca.crt", "namespace", "config", "tls.crt", "tls.key"};
    char path[128];

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

TestSuite(kube_config, .init = setup, .fini = teardown);

static const char *file(const char *name, const char *content)
{
    static char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "we");
    cr_assert_not_null(f);
    fputs(content, f);
    fclose(f);
    return path;
}

static struct kube_config *config;
static struct err err;

static int load(const char *text)
{
    config = kube_config_free(config);
    err_clear(&err);
    return kube_config_from_kubeconfig(text, strlen(text), dir, &config, &err);
}

/* A kubeconfig with these fields in the cluster and in the user. */
static int load_with(const char *cluster, const char *user)
{
    char text[4096];

    snprintf(text, sizeof(text),
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
            "contexts:\n- name: c\n  context: {cluster: k, user: u}\n"
            "clusters:\n- name: k\n  cluster: {%s}\nusers:\n- name: u\n  user: {%s}\n",
            cluster, user);
    return load(text);
}

#define SERVER "server: https://h:6443"

Test(kube_config, as_kubectl_writes_it)
{
    cr_assert_eq(load("apiVersion: v1\n"
                      "clusters:\n"
                      "- cluster:\n"
                      "    certificate-authority-data: " PEM_X "\n"
                      "    server: https://127.0.0.1:6443/\n"
                      "  name: kind\n"
                      "- cluster:\n"
                      "    server: http://other\n"
                      "    unknown: 1\n"
                      "  name: other\n"
                      "contexts:\n"
                      "- context:\n"
                      "    cluster: kind\n"
                      "    namespace: apps\n"
                      "    user: admin\n"
                      "  name: kind\n"
                      "current-context: kind\n"
                      "kind: Config\n"
                      "preferences: {}\n"
                      "users:\n"
                      "- name: admin\n"
                      "  user:\n"
                      "    client-certificate-data: " PEM_X "\n"
                      "    client-key-data: " PEM_Y "\n"),
            0, "%s", err_text(&err));
    cr_assert_str_eq(config->server, "https://127.0.0.1:6443");
    cr_assert_str_eq(config->namespace, "apps");
    cr_assert_str_eq(config->ca_pem, "-----BEGIN X-----\n");
    cr_assert_str_eq(config->key_pem, "-----BEGIN Y-----\n");
    cr_assert_null(config->token);
    cr_assert_not(config->insecure);
    cr_assert_eq(kube_config_reload(config, &err), 0);
    struct http_tls tls = kube_config_tls(config);
    cr_assert_str_eq(tls.cert_pem, "-----BEGIN X-----\n");
}

Test(kube_config, as_json)
{
    cr_assert_eq(load("{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":"
                      "\"k\",\"user\":"
                      "\"u\"}}],\"clusters\":[{\"name\":\"k\",\"cluster\":{\"server\":\"https://[::1]:1\","
                      "\"insecure-skip-tls-verify\":true}}],\"users\":[{\"name\":\"u\",\"user\":{\"token\":"
                      "\"t\"}}]}"),
            0, "%s", err_text(&err));
    cr_assert(config->insecure);
    cr_assert_str_eq(config->server, "https://[::1]:1");
    cr_assert_str_eq(config->token, "t");
    cr_assert_str_eq(config->namespace, "default");
}

Test(kube_config, data_wins_over_file_and_tokenFile_over_token)
{
    file("token", " from file \n");
    cr_assert_eq(load_with(SERVER ", certificate-authority: /nonexistent, certificate-authority-data: " PEM_X
                                  ", tls-server-name: kubernetes",
                         "token: inline, tokenFile: token"),
            -EBADMSG);
    file("token", " from-file \n");
    cr_assert_eq(load_with(SERVER ", certificate-authority: /nonexistent, certificate-authority-data: " PEM_X
                                  ", tls-server-name: kubernetes",
                         "token: inline, tokenFile: token"),
            0, "%s", err_text(&err));
    cr_assert_str_eq(config->token, "from-file");
    cr_assert_str_eq(config->server_name, "kubernetes");
}

Test(kube_config, files_are_read_again)
{
    file("token", "one");
    file("tls.crt", "-----BEGIN A-----");
    file("tls.key", "-----BEGIN B-----");
    cr_assert_eq(load_with(SERVER, "tokenFile: token, client-certificate: tls.crt, client-key: tls.key"), 0,
            "%s", err_text(&err));
    cr_assert_eq(kube_config_reload(config, &err), 0);
    file("token", "two\n");
    cr_assert_eq(kube_config_reload(config, &err), 1);
    cr_assert_str_eq(config->token, "two");
    file("tls.crt", "-----BEGIN C-----");
    file("token", "");
    cr_assert_lt(kube_config_reload(config, &err), 0);
    cr_assert_str_eq(config->token, "two", "a bad file changes nothing");
    cr_assert_str_eq(config->cert_pem, "-----BEGIN A-----", "nor does a good one beside it");
}

/* Each: cluster fields, user fields, what the sentence must contain. */
Test(kube_config, refusals)
{
    static const struct {
        const char *cluster, *user, *says;
    } cases[] = {
            {"", "", "cluster k: server: not set"},
            {"server: 10.0.0.1", "", "cluster k: server: not a URL"},
            {"server: https://", "", "server: not a URL"},
            {"server: \"https://a b\"", "", "server: not a URL"},
            {"server: https://user@h", "", "server: not a URL"},
            {"server: https://h?x=1", "", "server: not a URL"},
            {"server: [1]", "", "server: not a string"},
            {SERVER ", proxy-url: http://p", "", "proxy-url: a proxy is not supported"},
            {SERVER ", colour: red", "", "cluster k: colour: a field that is not known here"},
            {SERVER ", certificate-authority-data: '*'", "", "certificate-authority-data: not base64"},
            {SERVER ", certificate-authority-data: QUJD", "", "certificate-authority-data: no PEM"},
            {SERVER ", certificate-authority: gone.crt", "", "certificate-authority: cannot"},
            {SERVER ", insecure-skip-tls-verify: maybe", "",
                    "insecure-skip-tls-verify: neither true nor false"},
            {SERVER ", insecure-skip-tls-verify: true, certificate-authority-data: " PEM_X, "",
                    "makes no sense"},
            {SERVER, "exec: {command: aws}", "user u: exec: credential plugins are not run"},
            {SERVER, "auth-provider: {name: gcp}", "auth-provider: auth providers are not supported"},
            {SERVER, "username: me", "username: the API server knows no passwords"},
            {SERVER, "as: root", "as: impersonation is not supported"},
            {SERVER, "api-key: x", "user u: api-key: a field that is not known here"},
            {SERVER, "client-certificate-data: " PEM_X, "need each other"},
            {SERVER, "token: \"a\\nb\"", "user u: token: the token has a byte at 1"},
            {SERVER, "tokenFile: gone", "tokenFile: cannot"},
            {"server: http://h", "token: t", "credentials are not sent to a server without TLS"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cr_expect_lt(
                load_with(cases[i].cluster, cases[i].user), 0, "%s | %s", cases[i].cluster, cases[i].user);
        cr_expect(strstr(err_text(&err), cases[i].says), "\"%s\" is not in \"%s\"", cases[i].says,
                err_text(&err));
        cr_expect_null(config);
    }
}

Test(kube_config, refused_documents)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
            {"", "nothing in it"},
            {"# only a comment\n", "nothing in it"},
            {"- a\n", "not a mapping"},
            {"a: b\n", "current-context: not set"},
            {"current-context: x\n", "contexts: there is none called \"x\""},
            {"current-context: x\ncontexts: [{name: x}]\n", "contexts x: there is no context in it"},
            {"current-context: x\ncontexts: [{name: x, context: {cluster: c}}]\n", "user: not set"},
            {"current-context: x\ncontexts: [{name: x, context: {cluster: c, user: u}}]\n",
                    "clusters: there is none called \"c\""},
            {"a: &x 1\nb: *x\n", "line 1, column 4: anchors are not supported"},
            {"a: *x\n", "aliases are not supported"},
            {"a: !!binary QQ==\n", "tags are not supported"},
            {"a: 1\na: 2\n", "line 2, column 1: a key that is there already"},
            {"a: 1\n--- \nb: 2\n", "more than one document"},
            {"[a]: 1\n", "a key must be a plain word"},
            {"a: [1\n", "line 2"},
            {"\ta: 1\n", "line 1"},
            {"a: \"\\0\"\n", "NUL"},
            {"\xff\xfe", "line 1"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        cr_expect_lt(load(cases[i].text), 0, "%s", cases[i].text);
        cr_expect(strstr(err_text(&err), cases[i].says), "\"%s\" is not in \"%s\"", cases[i].says,
                err_text(&err));
    }
}

Test(kube_config, deep_nesting)
{
    static char text[200001];

    memset(text, '[', sizeof(text) - 1);
    cr_assert_lt(load(text), 0);
    cr_assert(strstr(err_text(&err), "nested too deeply"), "%s", err_text(&err));
}

Test(kube_config, in_cluster)
{
    file("token", "abc\n");
    file("ca.crt", "-----BEGIN X-----");
    file("namespace", "sc-system");
    cr_assert_eq(kube_config_in_cluster("10.96.0.1", "443", dir, &config, &err), 0, "%s", err_text(&err));
    cr_assert_str_eq(config->server, "https://10.96.0.1:443");
    cr_assert_str_eq(config->namespace, "sc-system");
    cr_assert_str_eq(config->token, "abc");
    config = kube_config_free(config);
    cr_assert_eq(kube_config_in_cluster("fd00::1", "6443", dir, &config, &err), 0);
    cr_assert_str_eq(config->server, "https://[fd00::1]:6443");
    config = kube_config_free(config);
    cr_assert_eq(kube_config_in_cluster("h/../x", "443", dir, &config, &err), -EINVAL);
    cr_assert_eq(kube_config_in_cluster("h", "http", dir, &config, &err), -EINVAL);
    cr_assert_eq(kube_config_in_cluster("h", "70000", dir, &config, &err), -EINVAL);
    cr_assert_eq(kube_config_in_cluster("h", "1", "/nonexistent", &config, &err), -ENOENT);
    cr_assert(strstr(err_text(&err), "service account"), "%s", err_text(&err));
}

Test(kube_config, choice_of_the_source)
{
    const char *path = file("config", "a: b\n");

    (void)unsetenv("KUBECONFIG");
    (void)unsetenv("KUBERNETES_SERVICE_HOST");
    cr_assert_eq(kube_config_load(NULL, &config, &err), -ENOENT);
    cr_assert(strstr(err_text(&err), "--kubeconfig"), "%s", err_text(&err));
    setenv("KUBECONFIG", path, 1);
    cr_assert_lt(kube_config_load("", &config, &err), 0);
    cr_assert(strstr(err_text(&err), path), "%s", err_text(&err));
    cr_assert_eq(kube_config_load("/nonexistent/c", &config, &err), -ENOENT);
    cr_assert(strstr(err_text(&err), "kubeconfig /nonexistent/c: "), "%s", err_text(&err));
    setenv("KUBECONFIG", "/a:/b", 1);
    cr_assert_eq(kube_config_load(NULL, &config, &err), -EINVAL);
    cr_assert(strstr(err_text(&err), "several files"), "%s", err_text(&err));
}

Test(kube_config, yaml_scalars)
{
    static const char text[] =
            "t: true\nf: false\nn: null\ntilde: ~\nempty:\nyes: yes\nnum: 1\nquoted: 'true'\n"
            "block: |\n  one\n  two\nseq:\n- a\n- {b: c}\n";
    _cleanup_json_ struct json *root = NULL;
    _cleanup_buf_ struct buf b = BUF_INIT(4096);

    cr_assert_eq(yaml_to_json(text, strlen(text), &root, &err), 0, "%s", err_text(&err));
    cr_assert_eq(json_write(root, &b), 0);
    cr_assert_str_eq(buf_str(&b),
            "{\"t\":true,\"f\":false,\"n\":null,\"tilde\":null,\"empty\":null,\"yes\":\"yes\","
            "\"num\":\"1\",\"quoted\":\"true\",\"block\":\"one\\ntwo\\n\",\"seq\":[\"a\",{\"b\":\"c\"}]}");
}

Test(kube_config, base64)
{
    static const struct {
        const char *text, *bytes;
    } cases[] = {{"", ""}, {"QQ==", "A"}, {"QUI=", "AB"}, {"QUJD", "ABC"}, {"QU\nJD\r\n", "ABC"},
            {"+/+/", "\xfb\xff\xbf"}, {"A", NULL}, {"QQ", NULL}, {"QQ=", NULL}, {"QQ=A", NULL},
            {"=QQQ", NULL}, {"QQ==QQ==", NULL}, {"QQ===", NULL}, {"QUJD=", NULL}, {"Q UJ", NULL},
            {"QU_D", NULL}, {"====", NULL}};

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ struct buf b = BUF_INIT(100);

        cr_expect_eq(base64_decode(cases[i].text, &b), cases[i].bytes ? 0 : -EINVAL, "%s", cases[i].text);
        if (cases[i].bytes)
            cr_expect_str_eq(buf_str(&b), cases[i].bytes);
    }
}
