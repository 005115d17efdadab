/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the records of kept roots. What is accepted keeps the forms that its header promises, and comes back
 * the same from its own text.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node-agent/record.h"
#include "node-agent/volume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_buf_ struct buf text = BUF_INIT(LIMIT_RECORD);
    struct record rec, back;
    struct err err = ERR_INIT;
    int r = record_decode((const char *)data, size, &rec, &err);

    must((r < 0) == (err.code != 0));
    if (r < 0)
        return 0;
    must(volume_is_label(rec.ns) && record_is_chain(rec.chain));
    must(rec.options[0] && !strpbrk(rec.options, "/:\\\" "));
    must(rec.size_limit <= LIMIT_ROOT_SIZE);
    must(record_encode(&rec, &text, NULL) == 0);
    must(record_decode(buf_str(&text), text.len, &back, NULL) == 0);
    must(memcmp(&rec, &back, sizeof(rec)) == 0);
    return 0;
}
