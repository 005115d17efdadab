/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name server that never answers, in a network of its own: a request whose time is over must not hold the loop
 * until the lookup has ended, which nothing can end (CURLOPT_QUICK_EXIT).
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include "common/http/http.h"
#include "test/priv/machine.h"

#define RESOLV "/mnt/resolv.conf"

/* How long the lookup takes, and the request may. */
enum { LOOKUP_S = 30, REQUEST_S = 1 };

static bool done;
static int done_code;

static void on_done(struct http_request *req, const struct http_result *result, void *user)
{
    (void)req;
    (void)user;
    done = true;
    done_code = result->code;
}

/* A network with a loopback device, and a name server on it that reads nothing. */
static void make_network(void)
{
    const struct sockaddr_in dns = {
            .sin_family = AF_INET, .sin_port = htons(53), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd;
    FILE *f;

    must(unshare(CLONE_NEWNET) == 0);
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    must(mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0);
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
    must(bind(fd, (const struct sockaddr *)&dns, sizeof(dns)) == 0);
    f = fopen(RESOLV, "we");
    must(f && fprintf(f, "nameserver 127.0.0.1\noptions timeout:%d attempts:1\n", LOOKUP_S) > 0);
    must(fclose(f) == 0);
    must(mount(RESOLV, "/etc/resolv.conf", NULL, MS_BIND, NULL) == 0);
}

static int play(const void *data _unused_)
{
    const struct http_client_config config = {.max_connections = 1};
    const struct http_request_spec spec = {.method = "GET",
            .url = "http://nobody.invalid-name.test/",
            .timeout = REQUEST_S * USEC_PER_SEC,
            .on_done = on_done};
    struct http_client *client;
    struct http_request *req;
    struct loop *loop;
    usec_t begin, took;

    make_network();
    must(loop_new(&loop, NULL) == 0 && http_client_new(loop, &config, &client, NULL) == 0);
    begin = clock_monotonic();
    must(http_start(client, &spec, &req, NULL) == 0);
    while (!done)
        must(loop_turn(loop, USEC_PER_SEC) >= 0);
    took = clock_monotonic() - begin;
    tap_ok(done_code == -ETIMEDOUT, "a request whose server's name is not found in time ends: %d", done_code);
    tap_ok(took >= REQUEST_S * USEC_PER_SEC && took < LOOKUP_S / 2 * USEC_PER_SEC,
            "when its time is over: after %.1f s, where the lookup takes %d", (double)took / USEC_PER_SEC,
            LOOKUP_S);
    return tap_status();
}

int main(void)
{
    return on_own_machine(play, NULL);
}
