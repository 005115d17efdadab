/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside common/wire: the frame's header and its numbers.
 */
#pragma once

#include "common/wire/wire.h"

static const uint8_t wire_magic[4] = {'S', 'C', 'a', 'w'};

/* Bits of the flag bytes of ATTACH and REFUSED. */
enum {
    WIRE_FLAG_WANT_ENTRYPOINT = 1,
    WIRE_FLAG_HAVE_ARGS = 2,
    WIRE_FLAG_RETRYABLE = 1,
};

static inline void wire_put16(uint8_t *at, uint16_t v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static inline void wire_put32(uint8_t *at, uint32_t v)
{
    wire_put16(at, (uint16_t)v);
    wire_put16(at + 2, (uint16_t)(v >> 16));
}

static inline uint16_t wire_get16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t wire_get32(const uint8_t *at)
{
    return wire_get16(at) | (uint32_t)wire_get16(at + 2) << 16;
}
