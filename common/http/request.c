/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One transfer: the easy handle with all its options, and curl's callbacks turned into ours.
 *
 * What is switched off, since none of it may happen behind our back: redirects, proxies from the environment,
 * other protocols, signals, "Expect: 100-continue", the system's CA directory next to a CA that was given.
 */
#include "common/http/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/limits.h"

enum {
    CONNECT_TIMEOUT_MS = 10000,
    BUFFER_BYTES = 16 * 1024, /* curl's least for uploads; a connection that idles holds it all the time */

    /* A peer that vanished without a word is noticed within a minute, by the kernel: first probe after 30 s
     * of silence, 3 of them 10 s apart; unacknowledged data counts the same (tcp(7) TCP_USER_TIMEOUT). */
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    KEEPALIVE_PROBES = 3,
    USER_TIMEOUT_MS = 60000,
};

#define SET(option, value)                                               \
    do {                                                                 \
        if (rc == CURLE_OK)                                              \
            rc = curl_easy_setopt(req->easy, CURLOPT_##option, (value)); \
    } while (0)

void http_request_move(struct http_request *req, struct list *list, enum http_state state)
{
    req->client->running_count += (state == HTTP_RUNNING) - (req->state == HTTP_RUNNING);
    list_remove(&req->node);
    if (list)
        list_append(list, &req->node);
    req->state = state;
}

void http_request_free(struct http_request *req)
{
    req->client->running_count -= req->state == HTTP_RUNNING;
    list_remove(&req->node);
    if (req->easy)
        curl_easy_cleanup(req->easy);
    curl_slist_free_all(req->headers);
    curl_slist_free_all(req->connect_to);
    free(req->body);
    free(req->what);
    free(req);
}

static size_t on_write(char *bytes, size_t size, size_t count, void *data)
{
    struct http_request *req = data;
    size_t len = size * count;

    if (req->state != HTTP_RUNNING)
        return 0;
    if (req->max_body > 0 && len > req->max_body - req->received) {
        req->code = -E2BIG;
        return 0;
    }
    req->received += len;
    if (!req->on_data)
        return len;
    int r = req->on_data(req, bytes, len, req->user);
    if (r < 0 && req->state == HTTP_RUNNING)
        req->code = r;
    return r < 0 || req->state != HTTP_RUNNING ? 0 : len;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* line is a copy that may be cut up. Status lines, the empty line and what is no header are passed over. */
static void deliver_header(struct http_request *req, char *line)
{
    char *colon = strchr(line, ':');
    char *value;
    size_t len;

    if (!colon || strncmp(line, "HTTP/", 5) == 0)
        return;
    *colon = '\0';
    for (char *p = line; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    }
    value = colon + 1;
    while (is_space(*value))
        value++;
    len = strlen(value);
    while (len > 0 && is_space(value[len - 1]))
        value[--len] = '\0';
    req->on_header(req, line, value, req->user);
}

/* curl hands over whole lines, the trailers too. */
static size_t on_header_line(char *bytes, size_t size, size_t count, void *data)
{
    _cleanup_free_ char *line = NULL;
    struct http_request *req = data;
    size_t len = size * count;

    if (req->state != HTTP_RUNNING)
        return 0;
    if (len > LIMIT_HTTP_HEADERS - req->header_bytes) {
        req->code = -E2BIG;
        return 0;
    }
    req->header_bytes += len;
    if (is_space(bytes[0]))
        req->headers_done = true;
    else if (len > 5 && memcmp(bytes, "HTTP/", 5) == 0)
        req->headers_done = false;
    if (!req->on_header)
        return len;
    line = strndup(bytes, len);
    if (!line) {
        req->code = -ENOMEM;
        return 0;
    }
    deliver_header(req, line);
    return req->state == HTTP_RUNNING ? len : 0;
}

static int on_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    const int probes = KEEPALIVE_PROBES, user_timeout = USER_TIMEOUT_MS;
    const struct http_client *c = data;

    if (!c->unix_socket && purpose == CURLSOCKTYPE_IPCXN) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout));
    }
    return CURL_SOCKOPT_OK;
}

static int add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);

    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

static int set_headers(struct http_request *req, const struct http_request_spec *spec)
{
    int r = add_header(&req->headers, "Expect:");

    for (const char *const *h = spec->headers; r == 0 && h && *h; h++) {
        if (strpbrk(*h, "\r\n"))
            return -EINVAL;
        r = add_header(&req->headers, *h);
    }
    return r;
}

static CURLcode set_method(struct http_request *req, const struct http_request_spec *spec)
{
    CURLcode rc = CURLE_OK;

    if (spec->body) {
        SET(POSTFIELDSIZE_LARGE, (curl_off_t)spec->body_len);
        SET(POSTFIELDS, req->body);
    }
    SET(CUSTOMREQUEST, spec->method);
    return rc;
}

static CURLcode set_pem(CURL *easy, CURLoption option, const char *pem)
{
    struct curl_blob blob;

    if (!pem)
        return CURLE_OK;
    blob = (struct curl_blob){.data = (void *)(uintptr_t)pem, .len = strlen(pem), .flags = CURL_BLOB_COPY};
    return curl_easy_setopt(easy, option, &blob);
}

/* The name to verify is the URL's host for curl, so that is what it becomes; CONNECT_TO leads to the real
 * host, which the Host header still names. */
static CURLcode use_server_name(struct http_request *req, CURLU *url)
{
    _cleanup_free_ char *to = NULL, *header = NULL;
    char *host = NULL, *port = NULL;
    CURLcode rc = CURLE_OUT_OF_MEMORY;

    if (curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
            curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
            asprintf(&to, "::%s:%s", host, port) >= 0 && asprintf(&header, "Host: %s:%s", host, port) >= 0 &&
            add_header(&req->connect_to, to) == 0 && add_header(&req->headers, header) == 0 &&
            curl_url_set(url, CURLUPART_HOST, req->client->tls.server_name, 0) == CURLUE_OK)
        rc = CURLE_OK;
    curl_free(host);
    curl_free(port);
    SET(CONNECT_TO, req->connect_to);
    return rc;
}

static CURLcode set_url(struct http_request *req, const char *text)
{
    CURLcode rc = CURLE_OK;
    char *final = NULL;
    CURLU *url = curl_url();
    CURLUcode parsed;

    if (!url)
        return CURLE_OUT_OF_MEMORY;
    parsed = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER);
    if (parsed != CURLUE_OK)
        rc = parsed == CURLUE_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_URL_MALFORMAT;
    if (rc == CURLE_OK && req->client->tls.server_name)
        rc = use_server_name(req, url);
    if (rc == CURLE_OK && curl_url_get(url, CURLUPART_URL, &final, 0) != CURLUE_OK)
        rc = CURLE_OUT_OF_MEMORY;
    SET(URL, final);
    curl_free(final);
    curl_url_cleanup(url);
    return rc;
}

static CURLcode set_tls(struct http_request *req)
{
    const struct http_tls *tls = &req->client->tls;
    CURLcode rc = CURLE_OK;

    if (!req->client->has_tls)
        return rc;
    SET(SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(SSL_VERIFYPEER, tls->insecure ? 0L : 1L);
    SET(SSL_VERIFYHOST, tls->insecure ? 0L : 2L);
    if (tls->ca_pem)
        SET(CAPATH, (char *)NULL);
    SET(SSLCERTTYPE, "PEM");
    SET(SSLKEYTYPE, "PEM");
    if (rc == CURLE_OK)
        rc = set_pem(req->easy, CURLOPT_CAINFO_BLOB, tls->ca_pem);
    if (rc == CURLE_OK)
        rc = set_pem(req->easy, CURLOPT_SSLCERT_BLOB, tls->cert_pem);
    if (rc == CURLE_OK)
        rc = set_pem(req->easy, CURLOPT_SSLKEY_BLOB, tls->key_pem);
    return rc;
}

static long to_ms(usec_t delay)
{
    usec_t ms = (delay + USEC_PER_MSEC - 1) / USEC_PER_MSEC;

    return ms > INT32_MAX ? INT32_MAX : (long)ms;
}

CURLcode http_request_set_deadline(struct http_request *req, usec_t now)
{
    CURLcode rc = CURLE_OK;

    if (req->deadline != USEC_INFINITY)
        SET(TIMEOUT_MS, req->deadline > now ? to_ms(req->deadline - now) : 1L);
    return rc;
}

static CURLcode set_connection(struct http_request *req, const struct http_request_spec *spec)
{
    const struct http_client *c = req->client;
    CURLcode rc = CURLE_OK;

    SET(HTTP_VERSION, c->http2 ? (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE : (long)CURL_HTTP_VERSION_1_1);
    SET(UNIX_SOCKET_PATH, c->unix_socket);
    SET(PROTOCOLS_STR, "http,https");
    SET(NOPROXY, "*");
    SET(FOLLOWLOCATION, 0L);
    SET(NOSIGNAL, 1L);
    SET(QUICK_EXIT, 1L); /* a name that a thread of curl still looks up is not waited for */
    SET(DNS_CACHE_TIMEOUT, 0L); /* connections are few, and a server that moved is found at once */
    SET(BUFFERSIZE, (long)BUFFER_BYTES);
    SET(UPLOAD_BUFFERSIZE, (long)BUFFER_BYTES);
    SET(TCP_KEEPALIVE, c->unix_socket ? 0L : 1L);
    SET(TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    SET(TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    SET(FRESH_CONNECT, spec->fresh_connection || spec->own_connection ? 1L : 0L);
    SET(FORBID_REUSE, spec->own_connection ? 1L : 0L);
    SET(CONNECTTIMEOUT_MS, spec->connect_timeout ? to_ms(spec->connect_timeout) : (long)CONNECT_TIMEOUT_MS);
    return rc;
}

static CURLcode set_callbacks(struct http_request *req)
{
    CURLcode rc = CURLE_OK;

    SET(PRIVATE, req);
    SET(ERRORBUFFER, req->curl_text);
    SET(WRITEFUNCTION, on_write);
    SET(WRITEDATA, req);
    SET(HEADERFUNCTION, on_header_line);
    SET(HEADERDATA, req);
    SET(SOCKOPTFUNCTION, on_socket);
    SET(SOCKOPTDATA, req->client);
    return rc;
}

static int copy_texts(struct http_request *req, const struct http_request_spec *spec)
{
    /* Query parts are long and say nothing to a person. */
    if (asprintf(&req->what, "%s %.*s", spec->method, (int)strcspn(spec->url, "?"), spec->url) < 0) {
        req->what = NULL;
        return -ENOMEM;
    }
    if (spec->body) {
        req->body = malloc(spec->body_len + 1);
        if (!req->body)
            return -ENOMEM;
        memcpy(req->body, spec->body, spec->body_len);
        req->body[spec->body_len] = '\0';
    }
    return set_headers(req, spec);
}

static CURLcode set_all(struct http_request *req, const struct http_request_spec *spec)
{
    CURLcode rc = set_url(req, spec->url);

    if (rc == CURLE_OK)
        rc = set_connection(req, spec);
    if (rc == CURLE_OK)
        rc = set_tls(req);
    if (rc == CURLE_OK)
        rc = set_callbacks(req);
    if (rc == CURLE_OK)
        rc = set_method(req, spec);
    SET(HTTPHEADER, req->headers);
    return rc;
}

int http_request_new(struct http_client *c, const struct http_request_spec *spec, struct http_request **ret,
        struct err *err)
{
    struct http_request *req;
    CURLcode rc;
    int r;

    if (spec->timeout == 0)
        return err_say(err, EINVAL, "%s %s: a request without a deadline", spec->method, spec->url);
    req = calloc(1, sizeof(*req));
    if (!req)
        return err_set(err, ENOMEM, "HTTP request");
    list_init(&req->node);
    req->client = c;
    req->state = HTTP_QUEUED;
    req->max_body = spec->max_body;
    req->deadline = usec_add(clock_monotonic(), spec->timeout);
    req->on_data = spec->on_data;
    req->on_header = spec->on_header;
    req->on_done = spec->on_done;
    req->user = spec->user;
    req->easy = curl_easy_init();
    r = req->easy ? copy_texts(req, spec) : -ENOMEM;
    if (r < 0) {
        http_request_free(req);
        return err_set(err, r, "%s %s", spec->method, spec->url);
    }
    rc = set_all(req, spec);
    if (rc != CURLE_OK) {
        r = err_say(err, rc == CURLE_OUT_OF_MEMORY ? ENOMEM : EINVAL, "%s: %s", req->what,
                curl_easy_strerror(rc));
        http_request_free(req);
        return r;
    }
    *ret = req;
    return 0;
}

long http_status(const struct http_request *req)
{
    long status = 0;

    (void)curl_easy_getinfo(req->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

int http_escape(struct buf *b, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '-' ||
                *p == '.' || *p == '_' || *p == '~') {
            (void)buf_putc(b, (char)*p);
        } else {
            const char code[3] = {'%', hex[*p >> 4], hex[*p & 15]};

            (void)buf_append(b, code, sizeof(code));
        }
    }
    return buf_error(b);
}
