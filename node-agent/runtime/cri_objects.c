/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owning and releasing what the runtime's answers were read into (cri.h).
 */
#include <stdlib.h>

#include "node-agent/runtime/cri.h"

static void free_strings(char **list)
{
    for (char **s = list; s && *s; s++)
        free(*s);
    free(list);
}

struct cri_container *cri_container_ref(struct cri_container *c)
{
    c->more_owners++;
    return c;
}

struct cri_container *cri_container_free(struct cri_container *c)
{
    if (!c)
        return NULL;
    if (c->more_owners > 0) {
        c->more_owners--;
        return NULL;
    }
    for (size_t i = 0; i < c->n_mounts; i++) {
        free(c->mounts[i].container_path);
        free(c->mounts[i].host_path);
    }
    free(c->mounts);
    free(c->id);
    free(c->sandbox_id);
    free(c->pod_name);
    free(c->pod_namespace);
    free(c->pod_uid);
    free(c->container_name);
    free(c->image_id);
    free(c->image_ref);
    free(c->working_dir);
    free(c->search);
    free(c->runtime_type);
    free(c);
    return NULL;
}

struct cri_list *cri_list_free(struct cri_list *l)
{
    if (!l)
        return NULL;
    for (size_t i = 0; i < l->n; i++) {
        free(l->items[i].id);
        free(l->items[i].container_name);
    }
    free(l->items);
    free(l);
    return NULL;
}

struct cri_image *cri_image_free(struct cri_image *i)
{
    if (!i)
        return NULL;
    free_strings(i->entrypoint);
    free_strings(i->cmd);
    free_strings(i->env);
    free_strings(i->volumes);
    free(i->id);
    free(i->user);
    free(i->chain);
    free(i->working_dir);
    free(i);
    return NULL;
}

struct cri_version *cri_version_free(struct cri_version *v)
{
    if (!v)
        return NULL;
    free(v->runtime_name);
    free(v->runtime_version);
    free(v->api_version);
    free(v);
    return NULL;
}
