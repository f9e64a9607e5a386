/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <stdarg.h>
#include <string.h>

#include "buf.h"

enum { RECORD_MAX = 16 * 1024 * 1024 };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

struct source {
	const char *next;
	size_t left;
	bool no_memory;
};

/*
 * Where memory lacks, jansson leaves a character out and says nothing, and the next number that it
 * reads resets errno. It gets the text in pieces here that end with a number's last digit: it asks for
 * more before it reads the number, so that errno is seen first.
 */
static size_t give_piece(void *buffer, size_t size, void *data)
{
	struct source *source = data;
	const char *text = source->next;
	size_t n = 0, most = MIN(size, source->left);

	if (errno == ENOMEM)
		source->no_memory = true;
	while (n < most && !(n && is_digit(text[n - 1]) && !is_digit(text[n])))
		n++;
	memcpy(buffer, text, n);
	source->next += n;
	source->left -= n;
	return n;
}

int venv__json_parse(const char *text, size_t length, json_t **ret, venv_error **err)
{
	struct source source = { .next = text, .left = length };
	json_error_t at;
	json_t *value;

	errno = 0;
	value = json_load_callback(give_piece, &source, JSON_REJECT_DUPLICATES, &at);
	/* elsewhere it calls a lack of memory a syntax error */
	if (source.no_memory || errno == ENOMEM || (!value && !*at.text)) {
		json_decref(value);
		return venv__fail_nomem(err);
	}
	if (!value)
		return venv__fail(err, VENV_ERR_INVALID, "not valid JSON: %s (line %d, column %d)",
				  at.text, at.line, at.column);
	*ret = value;
	return 0;
}

int venv__json_read(int dir_fd, const char *name, json_t **ret, venv_error **err)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int r;

	r = venv__file_read(dir_fd, name, RECORD_MAX, &text, &length, err);
	if (r < 0)
		return r;
	r = venv__json_parse(text, length, ret, NULL);
	if (r == VENV_ERR_NOMEM)
		return venv__fail_nomem(err);
	if (r < 0) {
		r = venv__fail(err, VENV_ERR_CORRUPT, "the record '%s' is damaged", name);
		return venv__hint(r, err, "run 'venv repair'");
	}
	return 0;
}

char *venv__json_text(const json_t *value, size_t flags)
{
	char *text;

	errno = 0;
	text = json_dumps(value, flags);
	if (text && errno == ENOMEM) {
		free(text);
		return NULL;
	}
	return text;
}

json_t *venv__json_pack(const char *format, ...)
{
	va_list args;
	json_t *value;

	errno = 0;
	va_start(args, format);
	value = json_vpack_ex(NULL, 0, format, args);
	va_end(args);
	if (value && errno == ENOMEM) {
		json_decref(value);
		return NULL;
	}
	return value;
}

int venv__json_write(int dir_fd, const char *name, const json_t *value, enum write_mode how,
		     venv_error **err)
{
	_cleanup_free_ char *text = venv__json_text(value, JSON_INDENT(1) | JSON_SORT_KEYS);

	if (!text)
		return venv__fail_nomem(err);
	return venv__file_write(dir_fd, name, text, strlen(text), 0600, how, err);
}

const char *venv__json_str(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

int64_t venv__json_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

bool venv__json_bool(const json_t *object, const char *key, bool otherwise)
{
	const json_t *value = json_object_get(object, key);

	return json_is_boolean(value) ? json_is_true(value) : otherwise;
}

char **venv__json_strv(const json_t *object, const char *key)
{
	const json_t *list = json_object_get(object, key);
	char **ret;

	if (!json_is_array(list))
		return NULL;
	ret = calloc(json_array_size(list) + 1, sizeof(char *));
	for (size_t i = 0; ret && i < json_array_size(list); i++) {
		const char *text = json_string_value(json_array_get(list, i));

		ret[i] = strdup(text ? text : "");
		if (!ret[i]) {
			venv__strv_free(ret);
			return NULL;
		}
	}
	return ret;
}

json_t *venv__json_from_strv(char *const *list)
{
	json_t *ret = json_array();

	for (; ret && list && *list; list++)
		if (json_array_append_new(ret, json_string(*list)) < 0) {
			json_decref(ret);
			return NULL;
		}
	return ret;
}

int venv__json_set_str(json_t *object, const char *key, const char *value)
{
	if (!value)
		return 0;
	return json_object_set_new(object, key, json_string(value));
}
