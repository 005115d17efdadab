/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of an object that somebody made too large. A value of JSON takes about 100 bytes of memory and may take
 * three in the object: one StoppableContainer of etcd's largest size would be 50 MB here, and a few of them the end of
 * the controller for everybody. Pure.
 */
#pragma once

#include "common/json/json.h"

/* More values (fields and items of lists, at any depth) than LIMIT_SPEC_VALUES in the spec: what may be so large is dropped,
 * and SLIM_FIELD says how many there were, for whoever tells (template.c). The API server's schema has no such field. */
#define SLIM_FIELD "oversize"
void slim_stoppablecontainer(struct json *sc, void *user);

/* More than LIMIT_POD_VALUES: none that we made, whose template was accepted. Its metadata is kept. */
void slim_pod(struct json *pod, void *user);
