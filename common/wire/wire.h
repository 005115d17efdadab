/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages on agent.sock: execwrap and pause (clients, in the user's containers) talk to the node agent
 * (server, one listening socket per volume).
 *
 * Linked into programs of a few KiB with musl, so this needs libc and common/names.h only, allocates nothing,
 * and keeps its caps here instead of in common/base/limits.h. Buffers belong to the caller.
 *
 * A frame, on a stream socket, numbers little-endian:
 *
 *     offset 0   4 bytes   "SCaw"
 *     offset 4   1 byte    version
 *     offset 5   1 byte    type
 *     offset 6   2 bytes   zero
 *     offset 8   4 bytes   length of the payload
 *     offset 12            payload
 *
 * A string in a payload is its length (4 bytes), its bytes, and one NUL that the length does not count, so
 * that a decoded string is a C string inside the receiver's buffer. Decoding is strict: an unknown type or
 * flag, a byte too many or too few, a NUL inside a string, a count or length beyond its cap: -EPROTO.
 *
 * The conversation:
 *
 *     pause                       agent
 *       HELLO        ->
 *                    <-           WAIT*, then HELD (the root is held; exposed or being exposed) or REFUSED
 *       STOPPING     ->             at any time after HELLO, also before HELD
 *                    <-           WAIT*, then RELEASE (no consumer has the root: pause may leave)
 *
 *     execwrap                    agent
 *       ATTACH       ->
 *                    <-           WAIT*, then ATTACHED (the process is in its new root) or REFUSED
 *
 * After WAIT the connection stays open and the answer follows. After REFUSED the agent closes; a retryable
 * refusal, like a connection that ends with no answer, makes the client connect and ask again after a growing
 * delay. Both requests may therefore come any number of times for one container: each must be idempotent, and
 * a container that has its root already is answered ATTACHED at once.
 *
 * Versions: the frame's header and the message REFUSED stay the same in every version, so that each side can
 * always tell the other, in words, that they do not understand each other. pause is never replaced while its
 * root lives, so an agent must go on speaking every version that a pause was ever made with.
 *
 * For the server: the socket must be connectable by every uid from its first moment (bind under umask 0), as
 * execwrap takes EACCES for final. A reply may be larger than what the socket buffer takes at once: queue it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WIRE_VERSION = 1,
    WIRE_HEADER = 12, /* bytes */

    /* Caps. The first two are of whole frames, header and all. */
    WIRE_REQUEST_MAX = 4096,
    WIRE_REPLY_MAX = 128 * 1024, /* ENTRYPOINT and CMD; execve takes no single string above this either */
    WIRE_ARGS_MAX = 16384, /* strings of ENTRYPOINT and CMD together */
    WIRE_TEXT_MAX = 1024, /* bytes of a sentence; encoding cuts a longer one */
    WIRE_PATH_MAX = 4095, /* bytes of a path: PATH_MAX without its NUL */
};

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_ATTACH = 2,
    WIRE_STOPPING = 3,

    WIRE_HELD = 129,
    WIRE_ATTACHED = 130,
    WIRE_WAIT = 131,
    WIRE_REFUSED = 132,
    WIRE_RELEASE = 133,
};

enum wire_kind {
    WIRE_RUN = 1, /* the container's first process */
    WIRE_EXEC = 2, /* a probe or hook in a container whose first process attaches it, or has done so */
};

/* A message from execwrap or pause. The last three fields are ATTACH's. */
struct wire_request {
    enum wire_type type;
    enum wire_kind kind;
    bool want_entrypoint; /* RUN only: the pod gives no command: answer with the image's ENTRYPOINT ... */
    bool have_args; /* ... and, unless the pod gives args, with its CMD */
};

/* Strings that lie packed in a received frame: valid as long as its buffer. */
struct wire_strings {
    const uint8_t *at;
    size_t count;
};

/* A message from the agent. */
struct wire_reply {
    enum wire_type type;
    bool retryable; /* REFUSED */
    const char
            *text; /* REFUSED, WAIT: a sentence, "" for the others. From the agent: escape before printing */
    const char *workdir; /* ATTACHED: the container's working directory as the runtime has it: absolute, or ""
                          * where the agent does not know. "" for the others */
    struct wire_strings entrypoint; /* ATTACHED; empty when not asked for */
    struct wire_strings cmd;
};

/* One frame as received: pointers into the reader's buffer. */
struct wire_frame {
    uint8_t version;
    uint8_t type;
    const uint8_t *data;
    size_t len;
};

/* --- encoding: whole frames into the caller's buffer -------------------------------------------------------
 */

/* All return the frame's length, or -EMSGSIZE when it does not fit into cap or passes a cap above, or -EINVAL
 * for a message that decoding would refuse. */
int wire_encode_request(uint8_t *buf, size_t cap, const struct wire_request *q);

/* HELD or RELEASE. */
int wire_encode_plain(uint8_t *buf, size_t cap, enum wire_type type);

/* WAIT or REFUSED; retryable is for REFUSED. text is cut at WIRE_TEXT_MAX bytes, at a UTF-8 boundary. */
int wire_encode_text(uint8_t *buf, size_t cap, enum wire_type type, bool retryable, const char *text);

struct wire_attached {
    const char *workdir; /* NULL or "": unknown; otherwise absolute */
    const char *const *entrypoint;
    size_t entrypoint_count;
    const char *const *cmd;
    size_t cmd_count;
};
int wire_encode_attached(uint8_t *buf, size_t cap, const struct wire_attached *a);

/* The answer to a frame of another version: REFUSED with a sentence that names both. For pause it is
 * retryable: leaving would destroy its root, and another agent may understand it. */
int wire_encode_version_refused(uint8_t *buf, size_t cap, const struct wire_frame *peer);

/* --- decoding
 * ------------------------------------------------------------------------------------------------ */

/* 0, -EPROTO, or -EPROTONOSUPPORT when the frame is of another version (REFUSED is understood in any). The
 * results are written only on success. */
int wire_decode_request(const struct wire_frame *f, struct wire_request *ret);
int wire_decode_reply(const struct wire_frame *f, struct wire_reply *ret);

/* Writes pointers to the strings, in order, into argv (room for s->count; no NULL is added). */
void wire_strings_list(const struct wire_strings *s, const char **argv);

/* --- receiving
 * ----------------------------------------------------------------------------------------------- */

/* Accumulates one frame at a time in a buffer of the caller. Its size is the cap of a frame: WIRE_REQUEST_MAX
 * in the agent, WIRE_REPLY_MAX in clients, never less than WIRE_HEADER. It asks for no byte beyond the frame,
 * so a frame that follows stays in the socket and nothing is ever moved. */
struct wire_reader {
    uint8_t *buf;
    size_t cap;
    size_t len; /* bytes of the current frame so far */
};

void wire_reader_init(struct wire_reader *r, uint8_t *buf, size_t cap);

/* Where the next bytes go, and how many at most (never 0). After a complete frame this begins the next one,
 * and the complete one is gone. */
size_t wire_reader_want(struct wire_reader *r, uint8_t **ret_at);

/* n bytes have been put there. 1: a frame is complete, *ret_frame is set. 0: more is needed. -EPROTO: this is
 * not our protocol; -EMSGSIZE: the frame is announced as larger than the buffer. After an error: close. */
int wire_reader_got(struct wire_reader *r, size_t n, struct wire_frame *ret_frame);

/* One read from fd into r. As wire_reader_got, or -ECONNRESET at the end of the stream, or read's own
 * negative errno (-EAGAIN, -EINTR: call again). */
int wire_recv(int fd, struct wire_reader *r, struct wire_frame *ret_frame);

/* Sends a request whole. A request always fits into an empty socket buffer, so a short write is an error.
 * 0 or a negative errno. Never raises SIGPIPE. */
int wire_send(int fd, const struct wire_request *q);
