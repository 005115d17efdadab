/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The template against what this instance keeps and runs: what an edit will do, and what it cannot do.
 *
 *   the pod has run         it keeps the template that it was made with: RestartRequired, until the next
 *                           start or until the edit is taken back
 *   the pod has not run     it is made again at once (plan_edited_before_it_ran)
 *   another image           the root belongs to the one that it was made from and stays: Honored, ImageKept
 *   persistence, sizeLimit  stay what they were when the root was made: Honored, PersistenceKept
 *   containers added,       there is a root for each name that the instance began with: it does not start
 *   removed or renamed      (Ready and Honored: ContainersChanged). Their order is nobody's concern
 *
 * The way out of the last two is a new spec.rootfs.resetToken, or to take the edit back.
 */
#include <string.h>

#include "common/names.h"
#include "controller/consumer_pod.h"
#include "controller/plan_internal.h"
#include "controller/quantity.h"
#include "controller/status.h"

#define FRESH_ROOT "set spec.rootfs.resetToken to a new value for a fresh root"

static bool listed(const struct json *names, const char *name)
{
    json_for_each (item, names)
        if (strcmp(json_string(item) ? json_string(item) : "", name) == 0)
            return true;
    return false;
}

/* No container is named twice, in the template (template_check.c) or in the instance, which is made from it.
 */
bool plan_same_containers(const struct view *v)
{
    const struct json *names = json_at(v->o->sci, "spec.containers");
    const struct json *containers = template_containers(&v->template);

    if (json_len(names) != json_len(containers))
        return false;
    json_for_each (container, containers)
        if (!listed(names, json_str_or(container, "name", "")))
            return false;
    return true;
}

static int add_word(struct buf *b, const char *word)
{
    return buf_printf(b, "%s%s", b->len > 0 ? ", " : "", word);
}

int plan_opine_containers(const struct view *v, struct opinion *o)
{
    _cleanup_buf_ struct buf wanted = BUF_INIT(LIMIT_CONTAINERS * 2 * LIMIT_NAMESPACE),
                             kept = BUF_INIT(LIMIT_CONTAINERS * 2 * LIMIT_NAMESPACE);

    json_for_each (container, template_containers(&v->template))
        (void)add_word(&wanted, json_str_or(container, "name", ""));
    json_for_each (name, json_at(v->o->sci, "spec.containers"))
        (void)add_word(&kept, json_string(name) ? json_string(name) : "");
    opine(o, "False", "ContainersChanged",
            "the template has the containers %s, and root filesystems are kept for %s: change them back, "
            "or " FRESH_ROOT " of each",
            buf_str(&wanted), buf_str(&kept));
    return buf_error(&wanted) == -ENOMEM || buf_error(&kept) == -ENOMEM ? -ENOMEM : 0;
}

bool plan_edited_before_it_ran(const struct view *v)
{
    const struct pod_facts *c = &v->consumer;

    return v->template.spec && c->hash[0] && strcmp(c->hash, v->template.hash) != 0 && !c->started &&
           !c->init_started && plan_same_containers(v);
}

/* What a running consumer does not have, or not as its template asks for it. */
static int dropped_fields(const struct view *v, struct buf *b)
{
    const struct pod_request q = {.sc = v->o->sc, .sci = v->o->sci, .template = &v->template};
    _cleanup_json_ struct json *sent = NULL;
    int r = consumer_pod_build(&q, &sent);

    if (r < 0)
        return r;
    json_remove(json_field(sent, "spec"), "affinity"); /* differs from start to start, and is never dropped */
    json_remove(json_field(sent, "spec"), "nodeSelector");
    r = consumer_pod_dropped(sent, v->o->consumer, b);
    return r < 0 ? r : consumer_pod_misread(&v->template, b);
}

/* "main (debian:12)": containers whose template names another image than that of their root. */
static int kept_images(const struct view *v, struct buf *b)
{
    const struct json *names = json_at(v->o->sci, "spec.containers"),
                      *images = json_at(v->o->sci, "spec.images");
    int r = 0;

    json_for_each (container, template_containers(&v->template)) {
        for (size_t i = 0; i < json_len(names) && r == 0; i++) {
            const char *name = json_string(json_index(names, i)), *image = json_string(json_index(images, i));

            if (name && image && strcmp(json_str_or(container, "name", ""), name) == 0 &&
                    strcmp(json_str_or(container, "image", ""), image) != 0)
                r = buf_printf(b, "%s%s (%s)", b->len > 0 ? ", " : "", name, image);
        }
    }
    return r;
}

/* "rootfs.persistence stays Provider": what the SC asks for and this root is not. */
static int kept_persistence(const struct view *v, struct buf *b)
{
    const char *asked = json_str_or(v->o->sc, "spec.rootfs.persistence", SC_PERSISTENCE_PROVIDER);
    const char *is = json_str_or(v->o->sci, "spec.persistence", SC_PERSISTENCE_PROVIDER);
    const char *limit = json_str_or(v->o->sci, "spec.sizeLimit", "0");
    uint64_t wanted = 0, made_with = 0;
    int r = 0;

    if (strcmp(asked, is) != 0)
        return buf_printf(b, "rootfs.persistence stays %s", is);
    if (quantity_bytes(v->o->sc, "spec.rootfs.sizeLimit", &wanted) < 0)
        wanted = 0;
    if (v->on_node && quantity_parse(limit, &made_with) == 0 && wanted != made_with)
        r = buf_printf(b, "rootfs.sizeLimit stays %s", made_with ? limit : "unset");
    return r;
}

bool plan_is_edit(const char *reason)
{
    return strcmp(reason, HONORED_IMAGE_KEPT) == 0 || strcmp(reason, HONORED_CONTAINERS_CHANGED) == 0 ||
           strcmp(reason, HONORED_PERSISTENCE_KEPT) == 0;
}

/* What was said of an edit is taken back with the edit, also while nothing runs that could be looked at. */
static void opine_unknown(const struct view *v, struct opinion *o)
{
    const struct json *was = status_condition(json_field(v->o->sc, "status"), SC_COND_HONORED);
    const char *reason = json_str_or(was, "reason", "");

    if (plan_is_edit(reason))
        opine(o, "Unknown", "NotRunning", "told when the pod runs");
}

static void opine_kept_image(const char *images, const char *fields, struct opinion *o)
{
    opine(o, "False", HONORED_IMAGE_KEPT,
            "the image of the template is not used: the root filesystem belongs to the image that it was "
            "made from "
            "and is kept, of container %s; " FRESH_ROOT " of the new image%s%s",
            images, fields[0] ? "; not honoured: " : "", fields);
}

static int opine_honored(const struct view *v, bool in_use, struct opinion *o)
{
    _cleanup_buf_ struct buf fields = BUF_INIT(VERDICT_TEXT_MAX / 2), images = BUF_INIT(VERDICT_TEXT_MAX / 2),
                             persistence = BUF_INIT(VERDICT_TEXT_MAX / 2);
    int r = kept_images(v, &images);

    if (r == 0)
        r = kept_persistence(v, &persistence);
    if (r == 0 && in_use)
        r = dropped_fields(v, &fields);
    if (r == 0 && persistence.len > 0 && fields.len == 0)
        r = buf_puts(&fields, buf_str(&persistence));
    else if (r == 0 && persistence.len > 0)
        r = buf_printf(&fields, ", %s", buf_str(&persistence));
    if (r < 0 && r != -E2BIG)
        return r;
    if (!plan_same_containers(v))
        return plan_opine_containers(v, o);
    if (images.len > 0)
        opine_kept_image(buf_str(&images), buf_str(&fields), o);
    else if (persistence.len > 0)
        opine(o, "False", HONORED_PERSISTENCE_KEPT,
                "not honoured: %s, for as long as this root lives; " FRESH_ROOT, buf_str(&fields));
    else if (fields.len > 0)
        opine(o, "False", "NotHonored", "not honoured: %s", buf_str(&fields));
    else if (in_use)
        opine(o, "True", "Honored", "every field of the template is honoured");
    else
        opine_unknown(v, o);
    return 0;
}

int plan_opine_template(const struct view *v, struct opinion *ret_restart, struct opinion *ret_honored)
{
    bool other = v->consumer.exists && strcmp(v->consumer.hash, v->template.hash) != 0;

    if (other)
        opine(ret_restart, "True", "TemplateChanged",
                "the template changed since the running pod was made; it is applied at the next start");
    else
        opine(ret_restart, "False", "UpToDate",
                "the template is the one in use, or the one of the next start");
    if (!v->template.spec || !v->o->sci || !v->root_id[0])
        return 0;
    return opine_honored(v, v->consumer.exists && !other, ret_honored);
}
