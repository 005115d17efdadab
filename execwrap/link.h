/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection to the agent, which comes and goes with the agent.
 *
 * While there is none, a new one is tried after growing delays, 0.1 s to 5 s. While there is one, the only
 * system call is a poll without a timeout. What happened is handed to the program one event at a time,
 * signals before replies.
 */
#pragma once

#include "common/wire/wire.h"
#include "execwrap/signals.h"

struct link {
    const char *path; /* of the socket */
    int directory; /* that it is in, as it was at the start; negative: not there */
    const char *name; /* of the socket in it */
    int fd; /* -EBADF while there is no connection */
    uint32_t delay; /* ms; the last one; 0: the next one is the first */
    int64_t retry_at; /* ms of CLOCK_MONOTONIC; while there is no connection */
    int unsendable; /* a lasting errno of link_send, which link_wait is to tell; 0: none */
    struct wire_reader reader;
};

enum link_event {
    LINK_UP, /* connected: send the request */
    LINK_REPLY,
    LINK_SIGNAL,
    LINK_BROKEN, /* what came is not a message; the connection was dropped */
    LINK_DENIED, /* a call failed in a way that time does not heal; tried again all the same */
};

struct link_news {
    struct wire_reply reply; /* LINK_REPLY; valid until the next link_wait */
    const char *what; /* LINK_DENIED: "connect to", "send to", "wait for" (the agent) */
    int number; /* LINK_SIGNAL: the signal; LINK_BROKEN, LINK_DENIED: a positive errno */
};

/* Does not connect yet: link_wait does. buf is for replies and must outlive the link. */
void link_init(struct link *l, const char *path, uint8_t *buf, size_t cap);

/* Sleeps until something happened. */
enum link_event link_wait(struct link *l, const struct signals *s, struct link_news *ret_news);

/* Sends; a failure drops the connection. */
void link_send(struct link *l, const struct wire_request *q);

/* Closes the connection, if there is one, and sets the time of the next attempt. */
void link_drop(struct link *l);

/* The agent is well: the next delay is the first again. */
void link_settled(struct link *l);

/* While there is no connection: the next attempt is now. */
void link_hurry(struct link *l);

void link_close(struct link *l);
