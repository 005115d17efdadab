/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judgement of a mount namespace. Everything compared is (device, inode): of nsfs for namespaces, which
 * the kernel does not use again while the namespace lives: what is compared is read anew each time; of the file system
 * for roots.
 */
#include "node-agent/mounts/mntns.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>

static int identify_path(int dirfd, const char *path, struct file_id *ret, struct err *err)
{
    struct stat st;

    if (fstatat(dirfd, path, &st, 0) < 0)
        return err_set(err, errno, "cannot look at %s", path);
    *ret = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    return 0;
}

int machine_read(struct machine *ret, struct err *err)
{
    struct machine m = {.root = {.dev = 0}};
    struct file_id own_user_ns = {.dev = 0};
    int r;

    r = identify_path(AT_FDCWD, "/proc/1/ns/user", &m.user_ns, err);
    if (r == 0)
        r = identify_path(AT_FDCWD, "/proc/1/ns/mnt", &m.mount_ns, err);
    if (r == 0)
        r = identify_path(AT_FDCWD, "/proc/1/root/", &m.root, err);
    if (r == 0)
        r = identify_path(AT_FDCWD, "/proc/self/ns/user", &own_user_ns, err);
    if (r == 0)
        r = identify_path(AT_FDCWD, "/proc/self/ns/mnt", &m.own_mount_ns, err);
    if (r == 0)
        r = identify_path(AT_FDCWD, "/", &m.own_root, err);
    if (r < 0)
        return r;
    if (!file_id_equal(&own_user_ns, &m.user_ns))
        return err_say(err, EPERM, "the agent runs in a user namespace of its own");
    *ret = m;
    return 0;
}

bool machine_owns_root(const struct machine *m, const struct file_id *root)
{
    return file_id_equal(root, &m->root) || file_id_equal(root, &m->own_root);
}

int mntns_identify(const struct process *p, struct file_id *ret, struct err *err)
{
    struct file_id id;
    int r;

    r = identify_path(p->procfd, "ns/mnt", &id, err);
    if (r < 0)
        return err_wrap(err, r, "process %d", (int)p->pid);
    if (!process_alive(p))
        return err_say(err, ESRCH, "process %d has ended", (int)p->pid);
    *ret = id;
    return 0;
}

/* The owner of a namespace of another user namespace that is not below ours cannot be asked for (EPERM); ours
 * is the machine's, above all others. */
static int check_owner(int nsfd, const struct machine *m, struct err *err)
{
    _cleanup_close_ int owner = -EBADF;
    struct stat st;
    struct file_id id;

    if (ioctl(nsfd, NS_GET_NSTYPE) != CLONE_NEWNS)
        return err_say(err, EINVAL, "what was opened is no mount namespace");
    owner = ioctl(nsfd, NS_GET_USERNS);
    if (owner < 0)
        return err_set(err, errno, "cannot ask whose the mount namespace is");
    if (fstat(owner, &st) < 0)
        return err_set(err, errno, "cannot look at a user namespace");
    id = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};
    if (!file_id_equal(&id, &m->user_ns))
        return err_say(err, EPERM,
                "its mount namespace belongs to a user namespace of its own (hostUsers: false, or unshare)");
    return 0;
}

static int check_identity(
        const struct file_id *id, const struct machine *m, const struct mntns_rules *rules, struct err *err)
{
    if (file_id_equal(id, &m->mount_ns))
        return err_say(err, EPERM, "it runs in the machine's own mount namespace");
    if (file_id_equal(id, &m->own_mount_ns))
        return err_say(err, EPERM, "it runs in the agent's mount namespace");
    for (size_t i = 0; i < rules->n_forbidden; i++)
        if (file_id_equal(id, &rules->forbidden[i]))
            return err_say(err, EPERM, "it runs in another container's mount namespace");
    if (rules->expected && !file_id_equal(id, rules->expected))
        return err_say(err, EPERM, "it runs in another mount namespace than its container's first process");
    return 0;
}

int mntns_open(const struct process *p, const struct machine *m, const struct mntns_rules *rules,
        struct mntns *ret, struct err *err)
{
    _cleanup_close_ int fd = -EBADF;
    struct file_id id;
    struct stat st;
    int r;

    fd = openat(p->procfd, "ns/mnt", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, errno == ENOENT ? ESRCH : errno, "cannot open the mount namespace of process %d",
                (int)p->pid);
    if (fstat(fd, &st) < 0)
        return err_set(err, errno, "cannot look at a mount namespace");
    id = (struct file_id){.dev = st.st_dev, .ino = st.st_ino};

    r = check_owner(fd, m, err);
    if (r == 0)
        r = check_identity(&id, m, rules, err);
    if (r < 0)
        return err_wrap(err, r, "process %d is refused", (int)p->pid);
    if (!process_alive(p))
        return err_say(err, ESRCH, "process %d has ended", (int)p->pid);

    *ret = (struct mntns){.fd = take_fd(&fd), .id = id};
    return 0;
}

void mntns_close(struct mntns *ns)
{
    ns->fd = close_fd(ns->fd);
}
