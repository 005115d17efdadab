/* SPDX-License-Identifier: Apache-2.0 */
#include "execwrap/hold.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "execwrap/link.h"
#include "execwrap/say.h"

enum { REPLY_MAX = WIRE_HEADER + 1 + 4 + WIRE_TEXT_MAX + 1 }; /* the largest reply to HELLO: a refusal */

struct holder {
    struct link link;
    bool stopping; /* a signal came */
    const char *log;
};

static void send_type(struct holder *h, enum wire_type type)
{
    const struct wire_request q = {.type = type};

    if (h->link.fd >= 0)
        link_send(&h->link, &q);
}

static void on_up(struct holder *h)
{
    send_type(h, WIRE_HELLO);
    if (h->stopping)
        send_type(h, WIRE_STOPPING);
}

static void on_signal(struct holder *h, int signo)
{
    if (signo == SIGCHLD) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        return;
    }
    if (h->stopping)
        return;
    h->stopping = true;
    if (h->link.fd >= 0)
        send_type(h, WIRE_STOPPING);
    else
        link_hurry(&h->link);
}

/* A refusal that begins with a reason ("RootMissing: ...") is the whole of what is said: the controller reads
 * the reason from the termination message's first word. */
static void say_refusal(const struct holder *h, const char *text)
{
    if (text[0] >= 'A' && text[0] <= 'Z')
        SAY(h->log, text);
    else
        SAY(h->log, "pause: the node agent refused to hold this root: ", text);
}

/* True when pause is to end, with *ret_code. */
static bool on_reply(struct holder *h, const struct wire_reply *p, int *ret_code)
{
    if (p->type == WIRE_HELD || p->type == WIRE_WAIT) {
        link_settled(&h->link);
        return false;
    }
    if (p->type == WIRE_RELEASE && h->stopping) {
        *ret_code = 0;
        return true;
    }
    if (p->type == WIRE_REFUSED && !p->retryable) {
        say_refusal(h, p->text);
        *ret_code = 1;
        return true;
    }
    /* A refusal for now, or an answer to nothing that was asked. */
    link_drop(&h->link);
    return false;
}

int hold(const char *socket_path, const char *termination_log)
{
    static uint8_t buf[REPLY_MAX];
    struct holder h = {.log = termination_log};
    struct link_news news;
    struct signals signals;
    int code, rc;

    rc = signals_catch(&signals, true);
    if (rc < 0) {
        SAY(termination_log, "pause: cannot catch signals: ", strerror(-rc));
        return 1;
    }
    link_init(&h.link, socket_path, buf, sizeof buf);
    for (;;) {
        switch (link_wait(&h.link, &signals, &news)) {
        case LINK_UP:
            on_up(&h);
            break;
        case LINK_REPLY:
            if (on_reply(&h, &news.reply, &code)) {
                link_close(&h.link);
                signals_release(&signals);
                return code;
            }
            break;
        case LINK_SIGNAL:
            on_signal(&h, news.number);
            break;
        case LINK_BROKEN:
        case LINK_DENIED:
            break;
        }
    }
}
