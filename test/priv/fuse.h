/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE file system that says hello to the kernel and then never answers anything: the worst thing that a
 * tenant can mount. Who asks it something cannot even be killed, since the request has been read.
 */
#pragma once

#include <linux/fuse.h>

#include "test/priv/box.h"

struct dead_fuse {
    pid_t server;
};

_Noreturn static void dead_fuse_serve(int fd, int ready)
{
    static char request[1 << 20];
    char c = 0;

    must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    for (;;) {
        const struct fuse_in_header *in = (const void *)request;
        ssize_t n = read(fd, request, sizeof(request));

        if (n < (ssize_t)sizeof(*in)) {
            if (n < 0 && errno == EINTR)
                continue;
            _exit(0);
        }
        if (in->opcode == FUSE_INIT) {
            struct {
                struct fuse_out_header head;
                struct fuse_init_out init;
            } out;

            memset(&out, 0, sizeof(out));
            out.head = (struct fuse_out_header){.len = sizeof(out), .unique = in->unique};
            out.init.major = FUSE_KERNEL_VERSION;
            out.init.minor = FUSE_KERNEL_MINOR_VERSION;
            out.init.max_write = 4096;
            must(write(fd, &out, sizeof(out)) == (ssize_t)sizeof(out));
            must(write(ready, &c, 1) == 1);
        }
    }
}

/* Mounts it at path. False when this machine has no FUSE. The server is a child of the caller; when it is
 * killed, everybody who waits is let go. */
static bool dead_fuse_mount(const char *path, struct dead_fuse *ret)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC), pair[2];
    char c;

    if (fd < 0)
        return false;
    must(pipe2(pair, O_CLOEXEC) == 0);
    must(mount("dead", path, "fuse", 0, at("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)) == 0);
    ret->server = fork();
    must(ret->server >= 0);
    if (ret->server == 0)
        dead_fuse_serve(fd, pair[1]);
    close(fd);
    close(pair[1]);
    must(read(pair[0], &c, 1) == 1);
    close(pair[0]);
    return true;
}

_unused_ static void dead_fuse_end(struct dead_fuse *f)
{
    must(kill(f->server, SIGKILL) == 0 && waitpid(f->server, NULL, 0) == f->server);
}
