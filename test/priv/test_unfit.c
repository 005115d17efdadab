/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that lack a call, played by a seccomp filter that answers ENOSYS for it: the real agent says which,
 * stays, does not register the driver, is not Ready, refuses a publish call, and mounts nothing.
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/syscall.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/limits.h"
#include "common/base/loop.h"
#include "common/names.h"
#include "common/rpc/client.h"
#include "test/priv/machine.h"

#define KUBELET BOX_BASE "/kubelet"
#define STATE BOX_BASE "/state"
#define REGISTRATION KUBELET "/plugins_registry/" SC_CSI_DRIVER "-reg.sock"
#define CSI KUBELET "/plugins/" SC_CSI_DRIVER "/csi.sock"
#define COMMON "--node-name=n --namespace=s --kubelet-dir=" KUBELET
#define POD_UID "0f0f0f0f-1111-4222-8333-444444444444"
#define TARGET KUBELET "/pods/" POD_UID "/volumes/kubernetes.io~csi/" SC_VOLUME_NAME "/mount"

static void hide_call(long number)
{
    struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

/* Runs the agent's program, or its probe; 0: no call is hidden. Its words go to the returned fd. */
static pid_t run_agent(long hidden, const char *arguments, int *ret_out)
{
    const char *b = getenv("B");
    char command[1024];
    int out[2];
    pid_t pid;

    (void)snprintf(command, sizeof(command), "exec %s/sc-node-agent %s", b ? b : "build/gcc", arguments);
    must(pipe2(out, O_CLOEXEC) == 0);
    fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && dup2(out[1], STDERR_FILENO) >= 0);
        if (hidden)
            hide_call(hidden);
        (void)execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(99);
    }
    (void)close(out[1]);
    *ret_out = out[0];
    return pid;
}

static int probe(bool alive)
{
    int out, status = -1;
    pid_t pid = run_agent(0, alive ? "probe --alive " COMMON : "probe " COMMON, &out);

    must(waitpid(pid, &status, 0) == pid);
    (void)close(out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The agent's words until one of the line's parts appears, or it ends. */
static bool says(int out, const char *words, char *text, size_t size)
{
    usec_t end = usec_add(clock_monotonic(), 20 * USEC_PER_SEC);
    size_t n = strlen(text);

    while (!strstr(text, words)) {
        struct pollfd p = {.fd = out, .events = POLLIN};
        ssize_t got;

        if (clock_monotonic() > end || poll(&p, 1, 1000) < 0 || n + 1 >= size)
            return false;
        if (!p.revents)
            continue;
        got = read(out, text + n, size - n - 1);
        if (got <= 0)
            return false;
        n += (size_t)got;
        text[n] = '\0';
    }
    return true;
}

static char answer[512];
static int answer_status;

static void on_answer(struct rpc_unary *unary _unused_, const struct rpc_result *result, void *user)
{
    answer_status = (int)result->status;
    (void)snprintf(answer, sizeof(answer), "%s", result->text);
    loop_stop(user, 0);
}

/* A provider's publish call, right in everything. */
static void publish(void)
{
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB), capability = BUF_INIT(KIB), mode = BUF_INIT(KIB),
                             empty = BUF_INIT(KIB);
    _cleanup_loop_ struct loop *loop = NULL;
    _cleanup_rpc_client_ struct rpc_client *client = NULL;
    struct err err = ERR_INIT;
    struct rpc_unary_spec call = {
            .method = "/csi.v1.Node/NodePublishVolume", .timeout = 10 * USEC_PER_SEC, .fn = on_answer};

    pb_put_message(&capability, 2, &empty);
    pb_put_u64(&mode, 1, 1);
    pb_put_message(&capability, 3, &mode);
    pb_put_string(&b, 1, "csi-bb59057039ffcd925a641bf3a66045831e5ce58fe2241b083684d0fe0646bda7");
    pb_put_string(&b, 4, TARGET);
    pb_put_message(&b, 5, &capability);
    pb_put_bool(&b, 6, true);
    pb_put_map_entry(&b, 8, CSI_POD_UID, POD_UID);
    pb_put_map_entry(&b, 8, CSI_POD_NAMESPACE, "ns");
    pb_put_map_entry(&b, 8, CSI_POD_NAME, "box-provider");
    pb_put_map_entry(&b, 8, CSI_EPHEMERAL, "true");
    pb_put_map_entry(&b, 8, SC_ATTR_ROLE, SC_ROLE_PROVIDER);
    pb_put_map_entry(&b, 8, SC_ATTR_INSTANCE, "1f0f0f0f-1111-4222-8333-444444444444");
    pb_put_map_entry(&b, 8, SC_ATTR_NAME, "box");
    pb_put_map_entry(&b, 8, SC_ATTR_CONTAINERS, "main");
    pb_put_map_entry(&b, 8, SC_ATTR_ATTACH, "Pivot");
    must(buf_error(&b) == 0 && loop_new(&loop, &err) == 0 && rpc_client_new(loop, CSI, &client, &err) == 0);
    call.message = b.data;
    call.len = b.len;
    call.user = loop;
    answer_status = -1;
    must(rpc_unary_start(client, &call, NULL, &err) == 0 && loop_run(loop) == 0);
}

static int count_mounts(void)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_MOUNTINFO);
    struct err err = ERR_INIT;
    int n = 0;

    must(file_read_at(AT_FDCWD, "/proc/self/mountinfo", &text, &err) == 0);
    for (const char *p = buf_str(&text); *p; p++)
        n += *p == '\n';
    return n;
}

static void make_node(bool noexec)
{
    must(mkdir(STATE, 0700) == 0 && mount("state", STATE, "tmpfs", 0, "size=1M") == 0 &&
            mount(NULL, STATE, NULL, MS_SHARED, NULL) == 0);
    must(mkdir(KUBELET, 0700) == 0 &&
            mount("kubelet", KUBELET, "tmpfs", noexec ? MS_NOEXEC : 0, "size=1M") == 0);
    must(system("mkdir -p " KUBELET "/plugins " KUBELET "/plugins_registry " KUBELET "/pods/" POD_UID
                "/volumes/kubernetes.io~csi/" SC_VOLUME_NAME) == 0);
}

static void remove_node(void)
{
    must(umount2(STATE, MNT_DETACH) == 0 && rmdir(STATE) == 0);
    must(umount2(KUBELET, MNT_DETACH) == 0 && rmdir(KUBELET) == 0);
}

static void check_unfit(const char *what, const char *want, const char *text)
{
    tap_ok(strstr(text, want) && strstr(text, "not registered"), "%s: it says why", what);
    tap_ok(access(REGISTRATION, F_OK) < 0, "%s: the driver is not registered", what);
    tap_ok(probe(false) == 1 && probe(true) == 0, "%s: alive, not ready", what);
    publish();
    tap_ok(answer_status == GRPC_UNAVAILABLE && strstr(answer, want), "%s: publish is refused: %d %s", what,
            answer_status, answer);
    tap_ok(access(TARGET, F_OK) < 0, "%s: nothing is made for the pod", what);
}

static void check_fit(const char *text)
{
    tap_ok(access(REGISTRATION, F_OK) == 0 && !strstr(text, "not registered"),
            "a fit node: the driver registers");
    publish();
    tap_ok(answer_status == GRPC_OK && access(TARGET "/pause", X_OK) == 0, "a fit node: publish: %s", answer);
}

/* want NULL: the node is fit. */
static void one_node(const char *what, long hidden, bool noexec, const char *want)
{
    char text[8192] = "";
    int out, status, mounts;
    pid_t pid;

    make_node(noexec);
    mounts = count_mounts();
    pid = run_agent(hidden,
            COMMON " --state-dir=" STATE " --pause=$PWD/build/pause --execwrap=$PWD/build/execwrap", &out);
    if (!tap_ok(says(out, "serves node", text, sizeof(text)), "%s: the agent stays", what))
        printf("# %s\n", text);
    if (want)
        check_unfit(what, want, text);
    else
        check_fit(text);
    tap_ok(count_mounts() == mounts, "%s: nothing is mounted", what);
    must(kill(pid, SIGTERM) == 0 && waitpid(pid, &status, 0) == pid);
    tap_ok(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: it ends when told to", what);
    (void)close(out);
    remove_node();
}

static int play(const void *data _unused_)
{
    static const struct {
        long number;
        const char *name;
    } calls[] = {{SYS_openat2, "openat2"}, {SYS_open_tree, "open_tree"}, {SYS_move_mount, "move_mount"},
            {SYS_mount_setattr, "mount_setattr"}, {SYS_fsopen, "fsopen"}, {SYS_fsmount, "fsmount"},
            {SYS_pidfd_open, "pidfd_open"}, {SYS_pidfd_send_signal, "pidfd_send_signal"},
            {SYS_close_range, "close_range"}};

    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
            mount("proc", "/proc", "proc", 0, NULL) == 0 &&
            mount("base", BOX_BASE, "tmpfs", 0, "size=16M") == 0);
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        char want[64];

        (void)snprintf(want, sizeof(want), "has no %s,", calls[i].name);
        one_node(calls[i].name, calls[i].number, false, want);
    }
    one_node("noexec", 0, true, "is mounted noexec");
    one_node("a fit node", 0, false, NULL);
    return tap_status();
}

int main(void)
{
    return on_own_machine(play, NULL);
}
