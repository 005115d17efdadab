/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's log: one line an entry on stderr, as logfmt, for a container runtime to collect.
 *
 *     time=2026-01-02T03:04:05.678Z level=info msg="stopped" object=ns/name took=1.2s
 *
 * Library code (common/, mounts/) logs at debug only; programs log an error once, where it is handled. Values
 * are quoted and escaped, so text from pods or the API cannot forge a line. Nothing secret is ever passed
 * here.
 */
#pragma once

#include "common/base/cleanup.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Lines above this level are dropped. Default LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

/* Parses "error", "warn", "info", "debug". -EINVAL for anything else. */
int log_level_from_string(const char *text, enum log_level *ret_level);

/* Subject of the lines that follow (for instance "ns/name"), printed as object=...; NULL ends it. The string
 * is copied (cut at 320 bytes). */
void log_set_object(const char *object);

/* msg is formatted, then quoted as a whole. errno is kept. */
void log_write(enum log_level level, const char *fmt, ...) _printf_(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
