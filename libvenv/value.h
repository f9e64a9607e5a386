/* SPDX-License-Identifier: Apache-2.0 */
/* The answers of the public API are JSON values inside. */
#ifndef VENV_VALUE_H
#define VENV_VALUE_H

#include "util/json.h"

/* A venv_value is a json_t: the public handle takes over the reference. */
static inline venv_value *venv__value(json_t *json)
{
	return (venv_value *)json;
}

/* Give an answer: *ret takes json over; NULL json is out of memory. */
int venv__answer(json_t *json, venv_value **ret, venv_error **err);

#endif
