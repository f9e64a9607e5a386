/* SPDX-License-Identifier: Apache-2.0 */
/* JSON by jansson: records on disk and short-hands. Getters take NULL and wrong types. */
#ifndef VENV_UTIL_JSON_H
#define VENV_UTIL_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "file.h"

DEFINE_CLEANUP(json_t *, venv__cleanup_json, json_decref)
#define _cleanup_json_ _cleanup_(venv__cleanup_json)

/* Parse text with limits that hostile input needs: length by the caller, duplicates refused. */
int venv__json_parse(const char *text, size_t length, json_t **ret, venv_error **err);
/* What json_dumps() gives; NULL too where that leaves characters out for want of memory. */
char *venv__json_text(const json_t *value, size_t flags);
/* json_pack(); NULL too where that leaves out an optional member ("s*") for want of memory. */
json_t *venv__json_pack(const char *format, ...);
/* A record of ours: VENV_ERR_NOT_FOUND, or VENV_ERR_CORRUPT when it cannot be read. */
int venv__json_read(int dir_fd, const char *name, json_t **ret, venv_error **err);
int venv__json_write(int dir_fd, const char *name, const json_t *value, enum write_mode how,
		     venv_error **err);

const char *venv__json_str(const json_t *object, const char *key); /* NULL when it is none */
int64_t venv__json_int(const json_t *object, const char *key, int64_t otherwise);
bool venv__json_bool(const json_t *object, const char *key, bool otherwise);
/* A list of strings as a NULL-terminated list; NULL when it is none or memory failed. */
char **venv__json_strv(const json_t *object, const char *key);
json_t *venv__json_from_strv(char *const *list);
/* Set a string, or nothing when value is NULL. */
int venv__json_set_str(json_t *object, const char *key, const char *value);

#endif
