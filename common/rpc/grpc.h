/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What gRPC adds to HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md), shared by our server and client: status codes, the
 * five-byte message prefix, the percent coding of grpc-message, grpc-timeout. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/rpc/pb.h"

enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_FAILED_PRECONDITION = 9,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

enum {
    GRPC_PREFIX = 5, /* flag byte, four bytes of length, big endian */
    GRPC_TIMEOUT_TEXT = 16, /* room for grpc_timeout_format */
};

/* "UNAVAILABLE" and so on; "UNKNOWN" for a number that is none. */
const char *grpc_status_name(enum grpc_status status);

/* Parses the value of a grpc-status header; a number that is no status becomes GRPC_UNKNOWN, as the
 * specification says. -EBADMSG when it is no number. */
int grpc_status_parse(const char *text, enum grpc_status *ret) _must_check_;

/* Appends prefix and message. */
int grpc_frame_put(struct buf *b, const void *message, size_t len);

/* The one message of a unary request or reply: data must be exactly one frame. -EBADMSG when it is none, cut
 * short, or followed by anything; -ENOTSUP when it is flagged as compressed. */
int grpc_frame_get(const void *data, size_t len, struct pb_slice *ret_message) _must_check_;

/* Appends the value of grpc-message: everything but printable ASCII, and '%', percent-encoded; bytes that are
 * no UTF-8 become U+FFFD first. Cut with "..." so that the value stays within LIMIT_GRPC_MESSAGE bytes. */
int grpc_message_put(struct buf *b, const char *text);

/* The reverse, lenient as the specification wants it: a '%' that starts no escape stays as it is; NULs and
 * other control characters become spaces, since the text goes into a log or an event. */
int grpc_message_get(struct buf *b, const char *value);

/* grpc-timeout: at most eight digits and one of H M S m u n. The duration is rounded up to a microsecond.
 * -EBADMSG when it is none. */
int grpc_timeout_parse(const char *text, usec_t *ret) _must_check_;
void grpc_timeout_format(usec_t timeout, char ret[GRPC_TIMEOUT_TEXT]); /* finest unit that fits, rounded up */
