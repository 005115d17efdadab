/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What config.c (files, the pod's service account) and kubeconfig.c (the file format) share.
 */
#pragma once

#include "common/kube/config.h"

/* Bytes of a PEM file; -EBADMSG when there is no PEM block in it or a NUL byte. */
int kube_read_pem(const char *path, char **ret, struct err *err) _must_check_;
int kube_check_pem(const char *text, size_t len, struct err *err) _must_check_;

/* A bearer token without the white space around it; -EBADMSG when empty or not fit for an HTTP header. */
int kube_read_token(const char *path, char **ret, struct err *err) _must_check_;
int kube_clean_token(const char *text, char **ret, struct err *err) _must_check_;

/* Frees *slot, wiping what it held, and puts value there. */
void kube_replace_secret(char **slot, char *value);
