/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a transfer ended, in the terms of this code base: a negative errno and a sentence. Where curl knows the
 * system's own error (a refused or timed out connection), that is the one.
 */
#include "common/http/internal.h"

/* An API server says seconds. A page of whatever is in between may say hours, and be wrong. */
#define RETRY_AFTER_MAX ((usec_t)60 * USEC_PER_SEC)

static const struct {
    CURLcode rc;
    int code;
} codes[] = {
        {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH},
        {CURLE_COULDNT_CONNECT, -ECONNREFUSED},
        {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT},
        {CURLE_OUT_OF_MEMORY, -ENOMEM},
        {CURLE_PARTIAL_FILE, -ECONNRESET},
        {CURLE_GOT_NOTHING, -ECONNRESET},
        {CURLE_RECV_ERROR, -ECONNRESET},
        {CURLE_SEND_ERROR, -ECONNRESET},
        {CURLE_HTTP2, -EPROTO},
        {CURLE_HTTP2_STREAM, -EPROTO},
        {CURLE_WEIRD_SERVER_REPLY, -EPROTO},
        {CURLE_UNSUPPORTED_PROTOCOL, -EINVAL},
        {CURLE_URL_MALFORMAT, -EINVAL},
        {CURLE_PEER_FAILED_VERIFICATION, -EKEYREJECTED},
        {CURLE_SSL_CACERT_BADFILE, -EKEYREJECTED},
        {CURLE_SSL_CERTPROBLEM, -EKEYREJECTED},
        {CURLE_SSL_CONNECT_ERROR, -EPROTO},
};

static int code_of(struct http_request *req, CURLcode rc)
{
    long os_error = 0;

    if (req->code < 0)
        return req->code;
    /* curl takes a connection that closed in the middle of the headers for an answer without a body. */
    if (rc == CURLE_OK)
        return req->headers_done ? 0 : -ECONNRESET;
    if (rc == CURLE_COULDNT_CONNECT || rc == CURLE_RECV_ERROR || rc == CURLE_SEND_ERROR) {
        (void)curl_easy_getinfo(req->easy, CURLINFO_OS_ERRNO, &os_error);
        /* curl keeps the last errno it met, also that of a connect still under way. */
        if (os_error > 0 && os_error != EINPROGRESS && os_error != EAGAIN)
            return -(int)os_error;
    }
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        if (codes[i].rc == rc)
            return codes[i].code;
    }
    return -EIO;
}

static usec_t retry_after_of(struct http_request *req)
{
    curl_off_t seconds = 0;
    usec_t delay;

    if (curl_easy_getinfo(req->easy, CURLINFO_RETRY_AFTER, &seconds) != CURLE_OK || seconds <= 0)
        return 0;
    delay = (usec_t)seconds * USEC_PER_SEC;
    return delay < RETRY_AFTER_MAX ? delay : RETRY_AFTER_MAX;
}

void http_outcome(struct http_request *req, CURLcode rc, struct http_result *ret, struct err *err)
{
    *ret = (struct http_result){.code = code_of(req, rc),
            .status = http_status(req),
            .retry_after = retry_after_of(req),
            .err = err};
    if (ret->code == 0)
        return;
    if (req->code == -E2BIG)
        (void)err_say(err, E2BIG, "%s: the answer is larger than allowed", req->what);
    else if (req->code < 0)
        (void)err_set(err, req->code, "%s", req->what);
    else if (rc == CURLE_OK)
        (void)err_say(err, ret->code, "%s: the answer was cut in its headers", req->what);
    else
        (void)err_say(err, ret->code, "%s: %s", req->what,
                req->curl_text[0] ? req->curl_text : curl_easy_strerror(rc));
}
