/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See affinity.h. Pinning is by matchFields on metadata.name, the only field that it knows, with exactly one
 * value each (v1 NodeSelectorRequirement; node labels such as kubernetes.io/hostname need not equal the
 * name).
 */
#include "controller/affinity.h"

#include <errno.h>
#include <string.h>

#include "common/names.h"

static int add_requirement(
        struct json *term, const char *list, const char *key, const char *operator, const char * value)
{
    struct json *requirement = json_new_object();
    int bad = 0;

    bad |= json_set_str(requirement, "key", key);
    bad |= json_set_str(requirement, "operator", operator);
    bad |= json_append_str(json_ensure_array(requirement, "values"), value);
    bad |= json_append(json_ensure_array(term, list), requirement);
    return bad ? -ENOMEM : 0;
}

static int add_all(struct json *term, const struct placement *p)
{
    int bad = 0;

    if (p->agent) {
        bad |= add_requirement(term, "matchExpressions", SC_TOPOLOGY_KEY, "In", SC_TOPOLOGY_VALUE);
        bad |= add_requirement(term, "matchExpressions", "kubernetes.io/os", "In", "linux");
    }
    if (p->node)
        bad |= add_requirement(term, "matchFields", "metadata.name", "In", p->node);
    if (p->also_node)
        bad |= add_requirement(term, "matchFields", "metadata.name", "In", p->also_node);
    json_for_each (node, p->excluded) {
        if (json_string(node))
            bad |= add_requirement(term, "matchFields", "metadata.name", "NotIn", json_string(node));
    }
    return bad ? -ENOMEM : 0;
}

static bool term_is_empty(const struct json *term)
{
    return json_len(json_field(term, "matchExpressions")) == 0 &&
           json_len(json_field(term, "matchFields")) == 0;
}

static void drop_empty_terms(struct json *terms)
{
    for (size_t i = json_len(terms); i > 0; i--)
        if (term_is_empty(json_index(terms, i - 1)))
            json_remove_index(terms, i - 1);
}

static bool all_empty(const struct json *terms)
{
    json_for_each (term, terms)
        if (!term_is_empty(term))
            return false;
    return true;
}

int affinity_require(struct json *pod_spec, const struct placement *p)
{
    struct json *affinity = json_ensure_object(pod_spec, "affinity");
    struct json *node = affinity ? json_ensure_object(affinity, "nodeAffinity") : NULL;
    struct json *required =
            node ? json_ensure_object(node, "requiredDuringSchedulingIgnoredDuringExecution") : NULL;
    struct json *terms = required ? json_ensure_array(required, "nodeSelectorTerms") : NULL;
    int bad = 0;

    if (!terms)
        return -ENOMEM;
    if (json_len(terms) > 0 && all_empty(terms))
        return 0;
    drop_empty_terms(terms);
    if (json_len(terms) == 0)
        bad |= json_append(terms, json_new_object());
    json_for_each (term, terms)
        bad |= add_all(term, p);
    return bad ? -ENOMEM : 0;
}

const char *affinity_pinned_node(const struct json *pod)
{
    const struct json *fields = json_at(pod,
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
            "matchFields");

    json_for_each (field, fields) {
        if (strcmp(json_str_or(field, "operator", ""), "In") == 0 &&
                strcmp(json_str_or(field, "key", ""), "metadata.name") == 0)
            return json_str(field, "values[0]");
    }
    return NULL;
}
