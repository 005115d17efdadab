/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of the client that are files: read again when a request is about to be made and the last
 * reading is five minutes old, and when the server refuses us. Never by a timer: an idle client reads
 * nothing. The kubelet renews a token when a fifth of its life is left: 12 minutes of the usual hour.
 */
#include "common/base/log.h"
#include "common/kube/internal.h"

#define REFRESH_EVERY ((usec_t)300 * USEC_PER_SEC)

int kube_authorization(const struct kube_client *client, char **ret_header)
{
    *ret_header = NULL;
    if (!client->config->token)
        return 0;
    if (asprintf(ret_header, "Authorization: Bearer %s", client->config->token) < 0) {
        *ret_header = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* What there was no memory for is done at the next time. */
static void set_tls(struct kube_client *client)
{
    const struct http_tls tls = kube_config_tls(client->config);

    client->tls_stale = false;
    for (size_t i = 0; i < KUBE_POOLS; i++)
        if (http_client_set_tls(client->pools[i], &tls) < 0)
            client->tls_stale = true;
}

bool kube_renew_credentials(struct kube_client *client)
{
    struct err err = ERR_INIT;
    int r = kube_config_reload(client->config, &err);

    client->credentials_read = clock_monotonic();
    if (r < 0)
        log_debug("credentials stay as they are: %s", err_text(&err));
    if (r <= 0 && !client->tls_stale)
        return false;
    set_tls(client);
    return true;
}

void kube_refresh_credentials(struct kube_client *client, usec_t now)
{
    const struct kube_config *c = client->config;

    if (!c->token_file && !c->cert_file && !c->key_file && !c->ca_file)
        return;
    if (now >= usec_add(client->credentials_read, REFRESH_EVERY))
        (void)kube_renew_credentials(client);
}
