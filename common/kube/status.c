/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer of the API server means to us. Pure.
 */
#include <string.h>

#include "common/kube/internal.h"

enum { EXCERPT_MAX = 200, RETRY_AFTER_MAX_S = 60 };

int kube_code_of(long http, const char *reason)
{
    if (http >= 200 && http < 300)
        return 0;
    switch (http) {
    case 400:
    case 405:
    case 406:
    case 415:
    case 422:
        return -EINVAL;
    case 401:
        return -EACCES;
    case 403:
        return -EPERM;
    case 404: /* only in the API server's own words: a proxy's page says nothing about the object */
        return strcmp(reason, "NotFound") == 0 ? -ENOENT : -EREMOTEIO;
    case 409:
        return strcmp(reason, "AlreadyExists") == 0 ? -EEXIST : -ESTALE;
    case 410:
        return -ESTALE;
    case 429:
    case 503:
    case 504:
        return -EAGAIN;
    default:
        return -EREMOTEIO;
    }
}

bool kube_unreached(const struct kube_result *result)
{
    if (result->code == 0 || result->retry_after > 0)
        return false;
    switch (result->http) {
    case 0:
        return result->code != -ENOMEM && result->code != -EBADMSG && result->code != -E2BIG &&
               result->code != -EINVAL;
    case 502:
    case 503:
    case 504:
        /* An API server gives a reason: a write took too long for it, in a webhook, say. */
        return !result->reason[0];
    default:
        return false;
    }
}

void kube_result_of_status(struct kube_result *result, const struct json *status)
{
    int64_t seconds = json_int_or(status, "details.retryAfterSeconds", 0);

    result->reason = json_str_or(status, "reason", "");
    result->message = json_str_or(status, "message", "");
    if (!*result->message)
        result->message = *result->reason ? result->reason : "the API server gave no reason";
    if (result->http == 0)
        result->http = (long)json_int_or(status, "code", 500);
    result->code = kube_code_of(result->http, result->reason);
    if (result->retry_after == 0 && seconds > 0)
        result->retry_after =
                (usec_t)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * USEC_PER_SEC;
}

void kube_result_of_text(struct kube_result *result, const char *text, struct err *err)
{
    char excerpt[EXCERPT_MAX + 1];
    size_t n = 0;

    for (; *text && n < EXCERPT_MAX; text++)
        excerpt[n++] = *text >= ' ' && *text <= '~' ? *text : ' ';
    while (n > 0 && excerpt[n - 1] == ' ')
        n--;
    excerpt[n] = '\0';
    result->reason = "";
    result->code = kube_code_of(result->http, "");
    (void)err_say(
            err, EREMOTEIO, "the API server answered HTTP %ld%s%s", result->http, n > 0 ? ": " : "", excerpt);
    result->message = err_text(err);
}

int kube_query_add(struct buf *path, const char *key, const char *value)
{
    if (!value)
        return buf_error(path);
    (void)buf_putc(path, strchr(buf_str(path), '?') ? '&' : '?');
    (void)http_escape(path, key);
    (void)buf_putc(path, '=');
    return http_escape(path, value);
}
