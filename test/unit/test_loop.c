/* SPDX-License-Identifier: Apache-2.0 */
/*
 * common/base/loop: order of callbacks, and what happens when a callback changes the loop under its own feet.
 *
 * Each test keeps a record of its callbacks as letters, in the order in which they came. Signals are raised,
 * which sends them to this thread: Criterion's other thread does not block them.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "test/unit/loop_actors.h"

TestSuite(loop, .init = setup, .fini = teardown);

static void on_io(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct actor *a = data;

    cr_assert_eq(src, a->src);
    cr_assert_eq(fd, a->fds[0]);
    a->events = events;
    act(a);
}

static void on_defer(struct loop_source *src, void *data)
{
    (void)src;
    act(data);
}

static void on_signal(struct loop_source *src, const struct signalfd_siginfo *info, void *data)
{
    (void)src;
    ((struct actor *)data)->code = (int)info->ssi_signo;
    act(data);
}

static void on_pidfd(struct loop_source *src, int code, int status, void *data)
{
    struct actor *a = data;

    cr_assert_eq(src, a->src);
    a->code = code;
    a->status = status;
    act(a);
}

/* A pipe that is readable already. */
static void add_ready_io(struct actor *a)
{
    cr_assert_eq(pipe2(a->fds, O_CLOEXEC | O_NONBLOCK), 0);
    cr_assert_eq(write(a->fds[1], "x", 1), 1);
    cr_assert_eq(loop_add_io(loop, "io", a->fds[0], EPOLLIN, on_io, a, &a->src), 0);
}

static void close_pipe(struct actor *a)
{
    (void)close(a->fds[0]);
    (void)close(a->fds[1]);
}

/* --- io --- */

Test(loop, io_is_level_triggered_and_tells_what_is_ready)
{
    struct actor a = {.letter = 'a'};

    add_ready_io(&a);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "aa");
    cr_assert_eq(a.events, EPOLLIN);
    cr_assert_eq(loop_io_set_events(a.src, 0), 0);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(loop_io_set_events(a.src, EPOLLIN), 0);
    cr_assert_eq(loop_turn(loop, 0), 1);
    (void)close(a.fds[1]);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(a.events, EPOLLIN | EPOLLHUP);
    a.src = loop_remove(a.src);
    cr_assert_null(a.src);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(fcntl(a.fds[0], F_GETFD), FD_CLOEXEC, "the fd stays the caller's");
    (void)close(a.fds[0]);
}

Test(loop, hang_up_comes_even_when_nothing_was_asked_for)
{
    struct actor a = {.letter = 'a'};

    add_ready_io(&a);
    cr_assert_eq(loop_io_set_events(a.src, 0), 0);
    (void)close(a.fds[1]);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(a.events, EPOLLHUP);
    loop_remove(a.src);
    (void)close(a.fds[0]);
}

Test(loop, what_cannot_be_watched_is_told)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

    add_ready_io(&a);
    cr_assert_eq(loop_add_io(loop, "again", a.fds[0], EPOLLIN, on_io, &b, &b.src), -EEXIST);
    cr_assert_eq(loop_add_io(loop, "closed", -EBADF, EPOLLIN, on_io, &b, &b.src), -EBADF);
    cr_assert_eq(loop_add_io(loop, "file", file, EPOLLIN, on_io, &b, &b.src), -EPERM);
    cr_assert_null(b.src, "written only on success");
    cr_assert_eq(loop_turn(loop, 0), 1);
    loop_remove(a.src);
    close_pipe(&a);
    (void)close(file);
}

Test(loop, a_source_removed_from_inside_its_own_callback)
{
    struct actor a = {.letter = 'a', .removes = &a};

    add_ready_io(&a);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_str_eq(record, "a");
    close_pipe(&a);
}

Test(loop, a_source_removed_from_another_callback_of_the_same_batch_is_not_called)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    a.removes = &b;
    b.removes = &a;
    add_ready_io(&a);
    add_ready_io(&b);
    cr_assert_eq(loop_turn(loop, 0), 1, "both were ready; the first called removes the other");
    cr_assert_eq(strlen(record), 1);
    cr_assert(!a.src != !b.src);
    loop_remove(a.src);
    loop_remove(b.src);
    close_pipe(&a);
    close_pipe(&b);
}

/* Removes the other source, closes its fd, and makes a new one, which gets the same number, and a source for
 * it. */
static struct actor *reuse_victim, *reuse_newcomer;

static void on_reuse(struct loop_source *src, int fd, uint32_t events, void *data)
{
    (void)src;
    (void)fd;
    (void)events;
    act(data);
    reuse_victim->src = loop_remove(reuse_victim->src);
    (void)close(reuse_victim->fds[0]);
    cr_assert_eq(pipe2(reuse_newcomer->fds, O_CLOEXEC), 0);
    cr_assert_eq(reuse_newcomer->fds[0], reuse_victim->fds[0], "the number is used again");
    cr_assert_eq(loop_add_io(loop, "new", reuse_newcomer->fds[0], EPOLLIN, on_io, reuse_newcomer,
                         &reuse_newcomer->src),
            0);
}

Test(loop, a_new_source_on_a_reused_fd_does_not_get_the_old_ones_event)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};

    cr_assert_eq(pipe2(a.fds, O_CLOEXEC), 0);
    cr_assert_eq(write(a.fds[1], "x", 1), 1);
    reuse_victim = &b;
    reuse_newcomer = &c;
    cr_assert_eq(loop_add_io(loop, "first", a.fds[0], EPOLLIN, on_reuse, &a, &a.src), 0);
    add_ready_io(&b); /* behind the first in epoll's list */
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "a", "the new pipe is empty");
    loop_remove(a.src);
    loop_remove(c.src);
    close_pipe(&a);
    close_pipe(&c);
    (void)close(b.fds[1]);
}

/* A child that inherited the file keeps the registration alive after we closed our fd without removing it. */
Test(loop, a_registration_that_outlives_its_source_is_harmless)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};
    int inherited;

    add_ready_io(&a);
    inherited = dup(a.fds[0]);
    (void)close(a.fds[0]);
    loop_remove(a.src); /* too late: epoll still watches the open file */
    add_timer(&b, 0); /* takes memory and place of what was freed */
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "b");
    (void)close(inherited);
    (void)close(a.fds[1]);
    loop_remove(b.src);
}

/* Takes away what the other source of the batch waits for. */
static struct actor *muted;

static void on_mute(struct loop_source *src, int fd, uint32_t events, void *data)
{
    (void)src;
    (void)fd;
    (void)events;
    act(data);
    cr_assert_eq(loop_io_set_events(muted->src, 0), 0);
}

Test(loop, events_no_longer_asked_for_are_not_delivered)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    cr_assert_eq(pipe2(a.fds, O_CLOEXEC), 0);
    cr_assert_eq(write(a.fds[1], "x", 1), 1);
    cr_assert_eq(loop_add_io(loop, "first", a.fds[0], EPOLLIN, on_mute, &a, &a.src), 0);
    add_ready_io(&b);
    muted = &b;
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "a");
    loop_remove(a.src);
    loop_remove(b.src);
    close_pipe(&a);
    close_pipe(&b);
}

static void on_count(struct loop_source *src, int fd, uint32_t events, void *data)
{
    struct actor *a = data;

    (void)events;
    cr_assert(src == a->src && fd == a->fds[0], "another source's event");
    a->code++;
    a->src = loop_remove(src);
}

Test(loop, many_sources_each_get_their_own_event)
{
    enum { MANY = 200 }; /* more than one turn takes */
    static struct actor actors[MANY];
    int calls = 0;

    for (int i = 0; i < MANY; i++) {
        struct actor *a = &actors[i];

        cr_assert_eq(pipe2(a->fds, O_CLOEXEC), 0);
        cr_assert_eq(write(a->fds[1], "x", 1), 1);
        cr_assert_eq(loop_add_io(loop, "io", a->fds[0], EPOLLIN, on_count, a, &a->src), 0);
    }
    while (calls < MANY) {
        int n = loop_turn(loop, 0);

        cr_assert_gt(n, 0);
        calls += n;
    }
    for (int i = 0; i < MANY; i++) {
        cr_assert_eq(actors[i].code, 1);
        close_pipe(&actors[i]);
    }
}

/* --- order --- */

Test(loop, a_turn_goes_fds_then_timers_then_defers)
{
    struct actor io = {.letter = 'i'}, timer = {.letter = 't'}, defer = {.letter = 'd'};

    cr_assert_eq(loop_add_defer(loop, "defer", on_defer, &defer, &defer.src), 0);
    add_timer(&timer, 1);
    add_ready_io(&io);
    cr_assert_eq(loop_turn(loop, 0), 3);
    cr_assert_str_eq(record, "itd");
    loop_remove(io.src);
    close_pipe(&io);
}

/* --- defer --- */

static void on_defer_again(struct loop_source *src, void *data)
{
    (void)src;
    act(data);
    cr_assert_eq(loop_add_defer(loop, "next", on_defer, data, NULL), 0);
}

Test(loop, a_defer_runs_once_and_one_made_by_it_in_the_next_turn)
{
    struct actor a = {.letter = 'a'};

    cr_assert_eq(loop_add_defer(loop, "first", on_defer_again, &a, NULL), 0);
    cr_assert_eq(loop_turn(loop, USEC_INFINITY), 1, "a waiting defer does not let the turn wait");
    cr_assert_eq(loop_turn(loop, USEC_INFINITY), 1);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_str_eq(record, "aa");
}

Test(loop, defers_keep_their_order_and_can_be_removed)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'}, d = {.letter = 'd'};

    b.removes = &c;
    d.removes = &d;
    cr_assert_eq(loop_add_defer(loop, "a", on_defer, &a, &a.src), 0);
    cr_assert_eq(loop_add_defer(loop, "b", on_defer, &b, &b.src), 0);
    cr_assert_eq(loop_add_defer(loop, "c", on_defer, &c, &c.src), 0);
    cr_assert_eq(loop_add_defer(loop, "d", on_defer, &d, &d.src), 0);
    a.src = loop_remove(a.src);
    cr_assert_eq(loop_turn(loop, 0), 2);
    cr_assert_str_eq(record, "bd");
    loop_remove(b.src); /* it has run; its holder lets go of it */
}

/* --- signals --- */

Test(loop, a_signal_is_delivered_as_an_event)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    cr_assert_eq(loop_add_signal(loop, "usr1", SIGUSR1, on_signal, &a, &a.src), 0);
    cr_assert_eq(loop_add_signal(loop, "usr2", SIGUSR2, on_signal, &b, &b.src), 0);
    cr_assert_eq(loop_add_signal(loop, "usr1", SIGUSR1, on_signal, &b, &b.src), -EEXIST);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_eq(a.code, SIGUSR1);
    cr_assert_eq(raise(SIGUSR2), 0);
    cr_assert_eq(loop_turn(loop, 0), 1);
    cr_assert_str_eq(record, "ab");
    cr_assert_eq(loop_turn(loop, 0), 0);
}

Test(loop, a_signal_that_comes_after_its_source_is_gone_does_not_kill)
{
    struct actor a = {.letter = 'a'};

    cr_assert_eq(loop_add_signal(loop, "term", SIGTERM, on_signal, &a, &a.src), 0);
    loop_remove(a.src);
    cr_assert_eq(raise(SIGTERM), 0);
    cr_assert_eq(loop_turn(loop, 0), 0);
    cr_assert_eq(loop_add_signal(loop, "term", SIGTERM, on_signal, &a, &a.src), 0, "it can be added again");
    cr_assert_eq(loop_turn(loop, 0), 1, "and is still pending");
}

/* --- processes --- */

static pid_t spawn(int exit_code, int signo, int *ret_pidfd)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (signo)
            (void)raise(signo);
        _exit(exit_code);
    }
    cr_assert_gt(pid, 0);
    *ret_pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    cr_assert_geq(*ret_pidfd, 0);
    return pid;
}

static void expect_end(int exit_code, int signo, int code, int status)
{
    struct actor a = {.letter = 'a'};
    int pidfd;
    pid_t pid = spawn(exit_code, signo, &pidfd);

    cr_assert_eq(loop_add_pidfd(loop, "child", pidfd, on_pidfd, &a, &a.src), 0);
    cr_assert_eq(loop_turn(loop, 10 * USEC_PER_SEC), 1);
    cr_assert_eq(a.code, code);
    cr_assert_eq(a.status, status);
    cr_assert_eq(waitpid(pid, NULL, WNOHANG), -1, "the loop has reaped it");
    cr_assert_eq(errno, ECHILD);
    cr_assert_eq(loop_turn(loop, 0), 0, "once");
    loop_remove(a.src);
    cr_assert_eq(close(pidfd), 0, "the pidfd stays the caller's");
}

Test(loop, a_child_that_exits)
{
    expect_end(0, 0, CLD_EXITED, 0);
    expect_end(255, 0, CLD_EXITED, 255);
}

Test(loop, a_child_that_is_killed)
{
    expect_end(0, SIGKILL, CLD_KILLED, SIGKILL);
}

Test(loop, no_child_of_ours)
{
    struct actor a = {.letter = 'a', .code = 77, .status = 77};
    int pidfd, hold[2], ids[2];
    pid_t child, grandchild = 0;

    cr_assert_eq(pipe2(hold, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(ids, O_CLOEXEC), 0);
    child = fork();
    if (child == 0) { /* its child lives until the pipe's other end is closed, and is then init's */
        pid_t pid = fork();
        char c;

        (void)close(hold[1]);
        if (pid == 0)
            _exit(read(hold[0], &c, 1) == 0 ? 3 : 4);
        _exit(write(ids[1], &pid, sizeof(pid)) == sizeof(pid) ? 0 : 1);
    }
    (void)close(hold[0]);
    cr_assert_eq(read(ids[0], &grandchild, sizeof(grandchild)), (ssize_t)sizeof(grandchild));
    cr_assert_eq(waitpid(child, NULL, 0), child);
    pidfd = (int)syscall(SYS_pidfd_open, grandchild, 0);
    cr_assert_geq(pidfd, 0);
    cr_assert_eq(loop_add_pidfd(loop, "stranger", pidfd, on_pidfd, &a, &a.src), 0);
    cr_assert_eq(loop_turn(loop, 0), 0);
    (void)close(hold[1]);
    cr_assert_eq(loop_turn(loop, 10 * USEC_PER_SEC), 1);
    cr_assert_eq(a.code, 0);
    cr_assert_eq(a.status, 0);
    loop_remove(a.src);
    (void)close(pidfd);
}

Test(loop, a_process_source_removed_from_its_own_callback)
{
    struct actor a = {.letter = 'a', .removes = &a};
    int pidfd;

    (void)spawn(0, 0, &pidfd);
    cr_assert_eq(loop_add_pidfd(loop, "child", pidfd, on_pidfd, &a, &a.src), 0);
    cr_assert_eq(loop_turn(loop, 10 * USEC_PER_SEC), 1);
    cr_assert_null(a.src);
    (void)close(pidfd);
}

/* --- running and stopping --- */

static void on_stop(struct loop_source *src, usec_t now, void *data)
{
    (void)src;
    (void)now;
    act(data);
    loop_stop(loop, 42);
}

Test(loop, stop_ends_the_run_after_the_current_callback)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'};

    cr_assert_eq(loop_add_timer(loop, "stop", on_stop, &a, &a.src), 0);
    cr_assert_eq(loop_timer_set(a.src, 1), 0);
    add_timer(&b, 2);
    cr_assert_eq(loop_run(loop), 42);
    cr_assert_str_eq(record, "a");
    cr_assert_eq(loop_turn(loop, USEC_INFINITY), 1, "what was due is not lost, and a loop can go on");
    cr_assert_str_eq(record, "ab");
}

Test(loop, stop_before_the_run)
{
    struct actor a = {.letter = 'a'};

    loop_stop(loop, 3);
    cr_assert(loop_stopped(loop));
    cr_assert_eq(loop_turn(loop, USEC_INFINITY), 0, "it does not wait for anything either");
    add_timer(&a, 1);
    cr_assert_eq(loop_run(loop), 3);
    cr_assert_not(loop_stopped(loop));
    cr_assert_str_eq(record, "");
}

Test(loop, free_takes_all_sources_along)
{
    struct actor a = {.letter = 'a'}, b = {.letter = 'b'}, c = {.letter = 'c'};
    struct loop *other = NULL;

    cr_assert_eq(loop_new(&other, NULL), 0);
    cr_assert_eq(pipe2(a.fds, O_CLOEXEC), 0);
    cr_assert_eq(loop_add_io(other, "io", a.fds[0], EPOLLIN, on_io, &a, NULL), 0);
    cr_assert_eq(loop_add_timer(other, "timer", on_timer, &b, &b.src), 0);
    cr_assert_eq(loop_timer_in(b.src, 1), 0);
    cr_assert_eq(loop_add_defer(other, "defer", on_defer, &c, NULL), 0);
    cr_assert_null(loop_free(other));
    cr_assert_eq(fcntl(a.fds[0], F_GETFD), FD_CLOEXEC);
    cr_assert_null(loop_free(NULL));
    cr_assert_null(loop_remove(NULL));
    close_pipe(&a);
}
