/* SPDX-License-Identifier: Apache-2.0 */
/* controller/affinity: our requirements in every ORed term. */
#include "controller/affinity.h"
#include "test/unit/world.h"

#define TERMS "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"

static bool requires(
        const struct json *term, const char *list, const char *key, const char *operator, const char * value)
{
    json_for_each (r, json_field(term, list)) {
        if (strcmp(json_str(r, "key"), key) == 0 && strcmp(json_str(r, "operator"), operator) == 0 &&
                json_len(json_at(r, "values")) == 1 && strcmp(json_str(r, "values[0]"), value) == 0)
            return true;
    }
    return false;
}

static bool pinned(const struct json *term, const char *node)
{
    return requires(term, "matchFields", "metadata.name", "In", node);
}

Test(affinity, none_becomes_one_term_of_its_own)
{
    struct json *spec = lit("{}");

    cr_assert_eq(affinity_require(spec, &(struct placement){.agent = true, .node = "n"}), 0);
    cr_assert_eq(json_len(json_at(spec, TERMS)), 1);
    cr_assert(pinned(json_at(spec, TERMS "[0]"), "n"));
    cr_assert(requires(json_at(spec, TERMS "[0]"), "matchExpressions", SC_TOPOLOGY_KEY, "In", "v1"));
    cr_assert(requires(json_at(spec, TERMS "[0]"), "matchExpressions", "kubernetes.io/os", "In", "linux"));
    json_free(spec);
}

Test(affinity, every_ored_term_is_narrowed_and_empty_ones_go)
{
    struct json *spec = lit("{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
                            "'nodeSelectorTerms':[{'matchExpressions':[{'key':'a','operator':'Exists'}]},{},"
                            "{'matchFields':[{'key':'metadata.name','operator':'In','values':['x']}]}]}},"
                            "'podAffinity':{}}}");

    cr_assert_eq(affinity_require(spec, &(struct placement){.node = "n"}), 0);
    cr_assert_eq(
            json_len(json_at(spec, TERMS)), 2, "an empty term matches nothing; with ours it would match");
    cr_assert(pinned(json_at(spec, TERMS "[0]"), "n") && pinned(json_at(spec, TERMS "[1]"), "n"));
    cr_assert_eq(json_len(json_at(spec, TERMS "[0].matchExpressions")), 1);
    cr_assert(pinned(json_at(spec, TERMS "[1]"), "x"), "the template's own requirement was lost");
    cr_assert_not_null(json_at(spec, "affinity.podAffinity"));
    json_free(spec);
}

Test(affinity, only_empty_terms_stay_unschedulable)
{
    struct json *spec = lit("{'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':{"
                            "'nodeSelectorTerms':[{}]}}}}");

    cr_assert_eq(affinity_require(spec, &(struct placement){.node = "n"}), 0);
    cr_assert_eq(json_len(json_at(spec, TERMS)), 1);
    cr_assert_eq(json_len(json_at(spec, TERMS "[0]")), 0);
    json_free(spec);
}

Test(affinity, excluded_nodes_one_value_each)
{
    struct json *spec = lit("{}"), *excluded = lit("['a','b']");

    cr_assert_eq(affinity_require(spec, &(struct placement){.also_node = "c", .excluded = excluded}), 0);
    cr_assert(requires(json_at(spec, TERMS "[0]"), "matchFields", "metadata.name", "NotIn", "a"));
    cr_assert(requires(json_at(spec, TERMS "[0]"), "matchFields", "metadata.name", "NotIn", "b"));
    cr_assert(pinned(json_at(spec, TERMS "[0]"), "c"));
    json_free(spec);
    json_free(excluded);
}
