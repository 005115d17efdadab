/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration with the kubelet (registration.h): pluginregistration.Registration, whose package has no "v1".
 *
 * The server makes its socket under a name that begins with a dot, which the kubelet's watcher passes over,
 * and renames it when it works; over a socket left by a crash too, which the watcher takes as the plugin's
 * new incarnation and registers again.
 */
#include "node-agent/csi/registration.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/rpc/pb.h"
#include "common/rpc/server.h"

/* The version that the kubelet compares with another registration of the same name: it must not go down. */
#define PLUGIN_VERSION "1.0.0"

enum { STATUS_TEXT_MAX = 4096 };

struct csi_registration {
    struct rpc_server *server;
    char *driver_name;
    char *endpoint;
    csi_registered_fn on_status;
    void *user;
};

static void get_info(struct rpc_call *rpc, _unused_ const uint8_t *msg, _unused_ size_t len, void *user)
{
    const struct csi_registration *reg = user;
    _cleanup_buf_ struct buf b = BUF_INIT(8 * KIB);

    pb_put_string(&b, 1, "CSIPlugin");
    pb_put_string(&b, 2, reg->driver_name);
    pb_put_string(&b, 3, reg->endpoint);
    pb_put_string(&b, 4, PLUGIN_VERSION);
    if (buf_error(&b) < 0)
        rpc_call_fail(rpc, GRPC_RESOURCE_EXHAUSTED, "no memory for the answer");
    else
        rpc_call_reply(rpc, b.data, b.len);
}

static int decode_status(const uint8_t *msg, size_t len, bool *ret_registered, struct pb_slice *ret_text)
{
    struct pb_reader r;
    struct pb_field f;
    int rc;

    pb_reader_init(&r, msg, len);
    while ((rc = pb_next(&r, &f)) > 0) {
        if (f.number == 1)
            rc = pb_get_bool(&f, ret_registered);
        else if (f.number == 2)
            rc = pb_get_string(&f, STATUS_TEXT_MAX, ret_text);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static void notify(struct rpc_call *rpc, const uint8_t *msg, size_t len, void *user)
{
    const struct csi_registration *reg = user;
    struct pb_slice slice = {0};
    _cleanup_free_ char *text = NULL;
    bool registered = false;

    if (decode_status(msg, len, &registered, &slice) < 0) {
        rpc_call_fail(rpc, GRPC_INVALID_ARGUMENT, "malformed RegistrationStatus");
        return;
    }
    rpc_call_reply(rpc, NULL, 0);
    text = pb_slice_dup(slice);
    if (reg->on_status)
        reg->on_status(registered, text ? text : "", reg->user);
}

static int listen_in(struct csi_registration *reg, const char *registry_dir, struct err *err)
{
    _cleanup_close_ int dirfd = open(registry_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[NAME_MAX + 1];
    int n = snprintf(name, sizeof(name), "%s-reg.sock", reg->driver_name);
    int rc;

    if (dirfd < 0)
        return err_set(err, errno, "cannot open the kubelet's plugin directory %s", registry_dir);
    if (n < 0 || (size_t)n >= sizeof(name))
        return err_say(err, ENAMETOOLONG, "the driver's name %s is too long", reg->driver_name);
    rc = rpc_server_handle(reg->server, "/pluginregistration.Registration/GetInfo", get_info, reg);
    if (rc == 0)
        rc = rpc_server_handle(
                reg->server, "/pluginregistration.Registration/NotifyRegistrationStatus", notify, reg);
    if (rc < 0)
        return err_set(err, rc, "cannot serve the registration");
    rc = rpc_server_listen(reg->server, dirfd, name, err);
    return rc < 0 ? err_wrap(err, rc, "cannot register in %s", registry_dir) : 0;
}

int csi_registration_new(struct loop *loop, const struct csi_registration_config *config,
        struct csi_registration **ret, struct err *err)
{
    _cleanup_csi_registration_ struct csi_registration *reg = calloc(1, sizeof(*reg));
    int rc;

    if (reg) {
        reg->driver_name = strdup(config->driver_name);
        reg->endpoint = strdup(config->endpoint);
    }
    if (!reg || !reg->driver_name || !reg->endpoint)
        return err_set(err, ENOMEM, "cannot register");
    reg->on_status = config->on_status;
    reg->user = config->user;
    rc = rpc_server_new(loop, "csi registration", &reg->server, err);
    if (rc == 0)
        rc = listen_in(reg, config->registry_dir, err);
    if (rc < 0)
        return rc;
    *ret = take_ptr(reg);
    return 0;
}

struct csi_registration *csi_registration_free(struct csi_registration *reg)
{
    if (reg) {
        reg->server = rpc_server_free(reg->server);
        free(reg->driver_name);
        free(reg->endpoint);
        free(reg);
    }
    return NULL;
}
