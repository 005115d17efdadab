/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime's answers (runtime.v1), from bytes to the structs of cri.h. Pure. Internal to the CRI client,
 * and to its tests and fuzzer.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "node-agent/runtime/cri.h"

/* 0, -EBADMSG or -ENOMEM; cri_decode_image also -ENOENT, since that is how an unknown image is answered. */
int cri_decode_container(const uint8_t *msg, size_t len, struct cri_container **ret, struct err *err);
int cri_decode_list(const uint8_t *msg, size_t len, struct cri_list **ret, struct err *err);
int cri_decode_image(const uint8_t *msg, size_t len, struct cri_image **ret, struct err *err);
int cri_decode_version(const uint8_t *msg, size_t len, struct cri_version **ret, struct err *err);
