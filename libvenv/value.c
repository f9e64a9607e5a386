/* SPDX-License-Identifier: Apache-2.0 */
#include "value.h"

static json_t *json_of(const venv_value *value)
{
	/* jansson's getters take what they only read as non-const in places */
	union {
		const venv_value *in;
		json_t *out;
	} u = { .in = value };

	return u.out;
}

int venv__answer(json_t *json, venv_value **ret, venv_error **err)
{
	if (!json)
		return venv__fail_nomem(err);
	*ret = venv__value(json);
	return 0;
}

void venv_value_free(venv_value *value)
{
	json_decref(json_of(value));
}

int venv_value_type(const venv_value *value)
{
	const json_t *json = json_of(value);

	if (!json)
		return VENV_NULL;
	switch (json_typeof(json)) {
	case JSON_TRUE:
	case JSON_FALSE:
		return VENV_BOOL;
	case JSON_INTEGER:
		return VENV_INT;
	case JSON_REAL:
		return VENV_REAL;
	case JSON_STRING:
		return VENV_STRING;
	case JSON_ARRAY:
		return VENV_LIST;
	case JSON_OBJECT:
		return VENV_MAP;
	case JSON_NULL:
		break;
	}
	return VENV_NULL;
}

size_t venv_value_count(const venv_value *value)
{
	const json_t *json = json_of(value);

	return json_is_object(json) ? json_object_size(json) : json_array_size(json);
}

static void *iterator_at(json_t *json, size_t i)
{
	void *iterator = json_object_iter(json);

	while (iterator && i--)
		iterator = json_object_iter_next(json, iterator);
	return iterator;
}

const venv_value *venv_value_at(const venv_value *value, size_t i)
{
	json_t *json = json_of(value);

	if (json_is_object(json))
		return venv__value(json_object_iter_value(iterator_at(json, i)));
	return venv__value(json_array_get(json, i));
}

const char *venv_value_key(const venv_value *value, size_t i)
{
	json_t *json = json_of(value);

	return json_is_object(json) ? json_object_iter_key(iterator_at(json, i)) : NULL;
}

const venv_value *venv_value_get(const venv_value *value, const char *key)
{
	return venv__value(json_object_get(json_of(value), key));
}

const char *venv_value_string(const venv_value *value)
{
	return json_string_value(json_of(value));
}

int64_t venv_value_int(const venv_value *value)
{
	const json_t *json = json_of(value);

	if (json_is_boolean(json))
		return json_is_true(json);
	return json_is_real(json) ? (int64_t)json_real_value(json) : json_integer_value(json);
}

double venv_value_real(const venv_value *value)
{
	return json_number_value(json_of(value));
}

char *venv_value_json(const venv_value *value)
{
	const json_t *json = json_of(value);

	return venv__json_text(json ? json : json_null(),
			       JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
}
