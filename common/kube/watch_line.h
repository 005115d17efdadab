/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch protocol without the network: bytes into lines, a line into an event. Pure; fuzzed.
 */
#pragma once

#include "common/kube/watch.h"

struct watch_lines {
    struct buf partial; /* the beginning of a line whose end has not come yet */
};

/* 0 to go on; anything else stops the feeding at once. */
typedef int (*watch_line_fn)(const char *line, size_t len, void *user);

void watch_lines_init(struct watch_lines *lines);
void watch_lines_free(struct watch_lines *lines);

/* Calls fn for each line that the bytes complete, without its line end; empty lines are passed over. Returns
 * 0, -E2BIG when a line is longer than LIMIT_WATCH_LINE, -ENOMEM, or what fn returned if that was not 0:
 * `lines` is then not touched any more, since fn may have freed it. */
int watch_lines_feed(
        struct watch_lines *lines, const void *bytes, size_t len, watch_line_fn fn, void *user) _must_check_;

/* True when the stream may end here. */
bool watch_lines_between(const struct watch_lines *lines);

/* One line: {"type": ..., "object": {...}}. For an ERROR event 1 is returned and the object is the Status.
 * -EBADMSG when the line is nothing of the kind. */
int watch_event_parse(const char *line, size_t len, enum kube_watch_type *ret_type, struct json **ret_object,
        struct err *err) _must_check_;
