/* SPDX-License-Identifier: Apache-2.0 */
#include "common/wire/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int read_boot_id(char ret[WIRE_BOOT_ID + 1])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_NOCTTY | O_CLOEXEC);
    char text[WIRE_BOOT_ID + 2];
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, text, sizeof text);
    close(fd);
    if (n != WIRE_BOOT_ID + 1 || text[WIRE_BOOT_ID] != '\n')
        return -EPROTO;
    text[WIRE_BOOT_ID] = '\0';
    if (strspn(text, "0123456789abcdef-") != WIRE_BOOT_ID)
        return -EPROTO;
    memcpy(ret, text, WIRE_BOOT_ID + 1);
    return 0;
}

static char *put_number(char *at, uint64_t n)
{
    int shift = 60;

    *at++ = '.';
    while (shift > 0 && n >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[n >> shift & 15];
    return at;
}

int wire_mark_name(uint64_t dev, uint64_t ino, char ret[WIRE_MARK_MAX])
{
    int r = read_boot_id(ret);

    if (r == 0)
        *put_number(put_number(ret + WIRE_BOOT_ID, dev), ino) = '\0';
    return r;
}
