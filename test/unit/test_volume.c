/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node-agent/volume: what a publish call's attributes may say, and what they may not.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/names.h"
#include "node-agent/volume.h"

#define POD_UID "01234567-89ab-cdef-0123-456789abcdef"
#define SCI_UID "11111111-2222-3333-4444-555555555555"
#define VOLUME_ID "csi-00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* A good call, changed by one attribute; NULL takes it away. */
struct change {
    const char *key;
    const char *value;
    int code;
    const char *text;
};

static int parse(
        const char *role, const char *pod, const struct change *change, struct volume **ret, struct err *err)
{
    struct csi_attribute attributes[16];
    struct csi_publish_request req = {
            .volume_id = VOLUME_ID,
            .volume_name = "stoppablecontainer",
            .pod_namespace = strcmp(role, "reclaim") == 0 ? "system" : "tenant",
            .pod_name = pod,
            .pod_uid = POD_UID,
            .attributes = attributes,
    };
    const struct csi_attribute good[] = {
            {SC_ATTR_ROLE, role},
            {SC_ATTR_INSTANCE, SCI_UID},
            {SC_ATTR_NAME, "box"},
            {SC_ATTR_NAMESPACE, "tenant"},
            {SC_ATTR_CONTAINERS, "main,side"},
            {SC_ATTR_READONLY, "side"},
            {SC_ATTR_POST_START, "main"},
            {SC_ATTR_ATTACH, "Pivot"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        bool changed = change && strcmp(change->key, good[i].key) == 0;

        if (changed && !change->value)
            continue;
        attributes[req.n_attributes] = good[i];
        if (changed)
            attributes[req.n_attributes].value = change->value;
        req.n_attributes++;
    }
    if (change && strcmp(change->key, "pod namespace") == 0)
        req.pod_namespace = change->value;
    if (change && strcmp(change->key, "volume name") == 0)
        req.volume_name = change->value;
    return volume_from_request(&req, "system", ret, err);
}

Test(volume, of_a_provider)
{
    _cleanup_volume_ struct volume *v = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(parse("provider", "box-provider", NULL, &v, &err), 0, "%s", err_text(&err));
    cr_assert_eq(v->role, VOLUME_PROVIDER);
    cr_assert_str_eq(v->id, VOLUME_ID);
    cr_assert_str_eq(v->dir, "pods/" POD_UID "/volumes/kubernetes.io~csi/stoppablecontainer/mount");
    cr_assert_str_eq(v->instance_namespace, "tenant");
    cr_assert_str_eq(v->instance_name, "box");
    cr_assert_eq(v->n_containers, 2);
    cr_assert_str_eq(v->containers[1].name, "side");
    cr_assert_not(v->containers[0].readonly);
    cr_assert(v->containers[1].readonly);
    cr_assert(v->containers[0].post_start);
    cr_assert_not(v->containers[1].post_start);
}

static int parse_told(const char *role, const char *root, const char *limit, const char *use,
        struct volume **ret, struct err *err)
{
    const struct csi_attribute attributes[] = {
            {SC_ATTR_ROLE, role},
            {SC_ATTR_INSTANCE, SCI_UID},
            {SC_ATTR_NAME, "box"},
            {SC_ATTR_NAMESPACE, "tenant"},
            {SC_ATTR_CONTAINERS, "main"},
            {SC_ATTR_PERSISTENCE, "Node"},
            {root ? SC_ATTR_ROOT : "-", root},
            {limit ? SC_ATTR_SIZE_LIMIT : "-", limit},
            {use ? SC_ATTR_USE : "-", use},
    };
    const struct csi_publish_request req = {
            .volume_id = VOLUME_ID,
            .volume_name = "stoppablecontainer",
            .pod_namespace = strcmp(role, "reclaim") == 0 ? "system" : "tenant",
            .pod_name = strcmp(role, "reclaim") == 0    ? "reclaim-" SCI_UID
                        : strcmp(role, "consumer") == 0 ? "box"
                                                        : "box-provider",
            .pod_uid = POD_UID,
            .attributes = attributes,
            .n_attributes = ARRAY_SIZE(attributes),
    };

    return volume_from_request(&req, "system", ret, err);
}

static int parse_node(
        const char *role, const char *root, const char *limit, struct volume **ret, struct err *err)
{
    return parse_told(role, root, limit, NULL, ret, err);
}

/* What was told of a limit goes with a limit, of a provider. */
Test(volume, size_use)
{
    static const char *const words[] = {"within", "unknown", "exceeded"};
    struct volume *v = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        cr_assert_eq(parse_told("provider", "kept", "1024", words[i], &v, NULL), 0);
        cr_expect_eq(v->use, USE_WITHIN + i);
        v = volume_free(v);
        cr_expect_eq(parse_told("provider", "kept", NULL, words[i], &v, NULL), -EINVAL);
        cr_expect_eq(parse_told("consumer", NULL, NULL, words[i], &v, NULL), -EINVAL);
    }
    cr_expect_eq(parse_told("provider", "kept", "1024", "none", &v, NULL), -EINVAL);
    cr_expect_eq(parse_told("provider", "kept", "1024", "", &v, NULL), -EINVAL);
}

Test(volume, persistence_node)
{
    static const struct {
        const char *role, *root, *limit, *text; /* text NULL: accepted */
        bool kept;
        uint64_t bytes;
    } cases[] = {
            {"provider", "new", NULL, NULL, false, 0},
            {"provider", "kept", "1073741824", NULL, true, 1073741824},
            {"provider", "new", "9007199254740991", NULL, false, 9007199254740991},
            {"provider", NULL, NULL, "must be new or kept", false, 0},
            {"provider", "", NULL, "must be new or kept", false, 0},
            {"provider", "new", "0", "no number of bytes", false, 0},
            {"provider", "new", "1Gi", "no number of bytes", false, 0},
            {"provider", "new", "9007199254740992", "no number of bytes", false, 0},
            {"consumer", NULL, NULL, NULL, false, 0},
            {"consumer", "kept", NULL, "belongs to a provider", false, 0},
            {"consumer", NULL, "1", "belongs to a provider", false, 0},
            {"reclaim", NULL, NULL, NULL, false, 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_volume_ struct volume *v = NULL;
        struct err err = ERR_INIT;
        int r = parse_node(cases[i].role, cases[i].root, cases[i].limit, &v, &err);

        cr_assert_eq(r, cases[i].text ? -EINVAL : 0, "%zu: %s", i, err_text(&err));
        if (cases[i].text)
            cr_assert_not_null(strstr(err_text(&err), cases[i].text), "%zu: %s", i, err_text(&err));
        else
            cr_assert(v->node && v->kept == cases[i].kept && v->size_limit == cases[i].bytes, "%zu", i);
    }
}

/* Without the attribute, or with its default, there is no root on the node to speak of. */
Test(volume, persistence_provider)
{
    _cleanup_volume_ struct volume *v = NULL;

    cr_assert_eq(parse("provider", "box-provider", NULL, &v, NULL), 0);
    cr_assert_not(v->node);
}

Test(volume, attached_by_chroot)
{
    static const struct change chroot = {SC_ATTR_ATTACH, "Chroot", 0, NULL};
    _cleanup_volume_ struct volume *pivot = NULL, *consumer = NULL, *provider = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(parse("consumer", "box", NULL, &pivot, &err), 0, "%s", err_text(&err));
    cr_assert_not(pivot->chroot);
    cr_assert_eq(parse("consumer", "box", &chroot, &consumer, &err), 0, "%s", err_text(&err));
    cr_assert(consumer->chroot);
    cr_assert_eq(parse("provider", "box-provider", &chroot, &provider, &err), 0, "%s", err_text(&err));
    cr_assert_not(provider->chroot, "nothing is attached in a provider");
}

/* The namespace is the kubelet's word, not the attribute's, for all but reclaim. */
Test(volume, namespace_is_the_pods)
{
    const struct change other = {SC_ATTR_NAMESPACE, "victim", 0, NULL};
    _cleanup_volume_ struct volume *v = NULL;
    _cleanup_volume_ struct volume *r = NULL;

    cr_assert_eq(parse("consumer", "box", &other, &v, NULL), 0);
    cr_assert_str_eq(v->instance_namespace, "tenant");
    cr_assert_eq(parse("reclaim", "reclaim-" SCI_UID, &other, &r, NULL), 0);
    cr_assert_str_eq(r->instance_namespace, "victim");
    cr_assert_eq(r->n_containers, 0);
}

static const struct change refused[] = {
        {SC_ATTR_ROLE, NULL, -EINVAL, SC_ATTR_ROLE},
        {SC_ATTR_ROLE, "owner", -EINVAL, SC_ATTR_ROLE},
        {SC_ATTR_ROLE, "provider", -EINVAL, "is called box-provider, not box"},
        {SC_ATTR_ROLE, "reclaim", -EPERM, "not honoured in namespace tenant"},
        {SC_ATTR_INSTANCE, NULL, -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_INSTANCE, "", -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_INSTANCE, "../../../../../../../../../../../etc", -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_INSTANCE, "11111111-2222-3333-4444-55555555555", -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_INSTANCE, "11111111-2222-3333-4444-55555555555G", -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_INSTANCE, "11111111-2222-3333-4444-5555555555555", -EINVAL, SC_ATTR_INSTANCE},
        {SC_ATTR_NAME, NULL, -EINVAL, SC_ATTR_NAME},
        {SC_ATTR_NAME, "bo", -EINVAL, "is called bo, not box"},
        {SC_ATTR_NAME, "Box", -EINVAL, SC_ATTR_NAME},
        {SC_ATTR_NAME, "a..b", -EINVAL, SC_ATTR_NAME},
        {SC_ATTR_NAME, "a-.b", -EINVAL, SC_ATTR_NAME},
        {SC_ATTR_NAME, ".", -EINVAL, SC_ATTR_NAME},
        {SC_ATTR_NAME, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", -EINVAL, "at most 54"},
        {SC_ATTR_CONTAINERS, NULL, -EINVAL, "1 to 64"},
        {SC_ATTR_CONTAINERS, "", -EINVAL, "1 to 64"},
        {SC_ATTR_CONTAINERS, "main,", -EINVAL, SC_ATTR_CONTAINERS},
        {SC_ATTR_CONTAINERS, ",main", -EINVAL, SC_ATTR_CONTAINERS},
        {SC_ATTR_CONTAINERS, "main,,side", -EINVAL, SC_ATTR_CONTAINERS},
        {SC_ATTR_CONTAINERS, "main,main", -EINVAL, "twice"},
        {SC_ATTR_CONTAINERS, "..", -EINVAL, "no container name"},
        {SC_ATTR_CONTAINERS, "main,a/b", -EINVAL, "no container name"},
        {SC_ATTR_CONTAINERS, "main", -EINVAL, SC_ATTR_READONLY}, /* side is read-only and not in the list */
        {SC_ATTR_READONLY, "ghost", -EINVAL, SC_ATTR_READONLY},
        {"volume name", "another", -EINVAL, "must be called " SC_VOLUME_NAME},
        {SC_ATTR_POST_START, "ghost", -EINVAL, SC_ATTR_POST_START},
        {SC_ATTR_POST_START, ",main", -EINVAL, SC_ATTR_POST_START},
        {SC_ATTR_ATTACH, "Sideways", -EINVAL, "Sideways"},
};

Test(volume, refusals)
{
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct volume *v = NULL;
        struct err err = ERR_INIT;
        int r = parse("consumer", "box", &refused[i], &v, &err);

        cr_expect_eq(
                r, refused[i].code, "%s=%s: %d (%s)", refused[i].key, refused[i].value, r, err_text(&err));
        cr_expect_not_null(strstr(err_text(&err), refused[i].text), "%s=%s: \"%s\"", refused[i].key,
                refused[i].value, err_text(&err));
        cr_expect_null(v);
    }
}

Test(volume, reclaim_is_of_the_own_namespace_and_of_that_pod)
{
    const struct change bad_ns = {SC_ATTR_NAMESPACE, "a/b", 0, NULL};
    const struct change no_ns = {SC_ATTR_NAMESPACE, NULL, 0, NULL};
    const struct change elsewhere = {"pod namespace", "tenant", 0, NULL};
    struct volume *v = NULL;
    struct err err = ERR_INIT;

    cr_assert_eq(parse("reclaim", "reclaim-" SCI_UID, &elsewhere, &v, &err), -EPERM);
    cr_assert_eq(parse("reclaim", "reclaim-" POD_UID, NULL, &v, &err), -EINVAL);
    cr_assert_eq(parse("reclaim", "reclaim-" SCI_UID, &bad_ns, &v, &err), -EINVAL);
    cr_assert_eq(parse("reclaim", "reclaim-" SCI_UID, &no_ns, &v, &err), -EINVAL);
    cr_assert_null(v);
}

/* As many as there may be, and one more. */
Test(volume, many_containers)
{
    char list[(LIMIT_CONTAINERS + 2) * 4] = "";
    struct change change = {SC_ATTR_CONTAINERS, list, 0, NULL};
    struct volume *v = NULL;
    size_t len = 0;

    len += (size_t)snprintf(list, sizeof(list), "main,side");
    for (int i = 2; i < LIMIT_CONTAINERS; i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, ",c%d", i);
    cr_assert_eq(parse("consumer", "box", &change, &v, NULL), 0);
    cr_assert_eq(v->n_containers, LIMIT_CONTAINERS);
    volume_free(v);
    v = NULL;
    (void)snprintf(list + len, sizeof(list) - len, ",z");
    cr_assert_eq(parse("consumer", "box", &change, &v, NULL), -EINVAL);
    cr_assert_null(v);
}

Test(volume, forms)
{
    cr_expect(volume_is_subdomain("a.b-c.d"));
    cr_expect_not(volume_is_subdomain("a.b."));
    cr_expect_not(volume_is_subdomain("a.-b"));
    cr_expect_not(volume_is_subdomain(NULL));
    cr_expect_not(volume_is_label("a.b"));
    cr_expect_not(volume_is_label("-a"));
    cr_expect(volume_is_id(VOLUME_ID));
    cr_expect_not(volume_is_id("csi-0011"));
    cr_expect_not(volume_is_id("csi-../2233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
}
