/* SPDX-License-Identifier: Apache-2.0 */
#include "error.h"

#include <string.h>

/* only for callers, and only under the analyzer */
#undef venv__wrap
#undef venv__hint

static const struct {
	int code;
	int status;
	const char *name;
	const char *text;
} codes[] = {
#define CODE_ROW(name, number, status, text) { number, status, #name, text },
	VENV_CODES(CODE_ROW)
#undef CODE_ROW
};

/* What an error is when there is no memory to describe it. Never freed. */
static struct venv_error out_of_memory = {
	.code = VENV_ERR_NOMEM,
	.message = (char *)(uintptr_t) "out of memory",
	.origin = "error.c",
};

int venv__code_of_errno(int number)
{
	switch (number) {
	case ENOENT:
		return VENV_ERR_NOT_FOUND;
	case ENOMEM:
		return VENV_ERR_NOMEM;
	case EEXIST:
		return VENV_ERR_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return VENV_ERR_DENIED;
	case ECANCELED:
		return VENV_ERR_CANCELLED;
	case ETIMEDOUT:
		return VENV_ERR_TIMEOUT;
	default:
		return VENV_ERR_SYSTEM;
	}
}

static const char *advice_for_errno(int number)
{
	switch (number) {
	case ENOSPC:
		return "free some space on that file system (venv box prune removes what nothing needs), "
		       "then run the command again";
	case EDQUOT:
		return "free some of your disk quota, then run the command again";
	case EROFS:
		return "the file system is mounted read-only: remount it writable, or set XDG_DATA_HOME";
	case EMFILE:
	case ENFILE:
		return "raise the limit of open files (ulimit -n) and run the command again";
	default:
		return NULL;
	}
}

static venv_error *make(int code, int number, const char *origin, const char *format, va_list args)
	_printf_(4, 0);

static venv_error *make(int code, int number, const char *origin, const char *format, va_list args)
{
	venv_error *error = calloc(1, sizeof(*error));
	char *message = NULL;

	if (!error)
		return &out_of_memory;
	error->code = code ? code : venv__code_of_errno(number);
	error->sys_errno = number;
	error->origin = origin;
	if (vasprintf(&message, format, args) < 0) {
		free(error);
		return &out_of_memory;
	}
	if (!number) {
		error->message = message;
		return error;
	}
	if (asprintf(&error->message, "%s: %s", message, strerror(number)) < 0)
		error->message = message;
	else
		free(message);
	if (advice_for_errno(number))
		error->hint = strdup(advice_for_errno(number));
	return error;
}

int venv__fail_from(venv_error **err, const char *origin, int code, int number, const char *format,
		    ...)
{
	va_list args;

	if (!code)
		code = venv__code_of_errno(number);
	if (!err)
		return code;
	va_start(args, format);
	*err = make(code, number, origin, format, args);
	va_end(args);
	return code;
}

int venv__fail_place(venv_error **err, const char *origin, int code, const char *file,
		     unsigned line, unsigned column, const char *format, ...)
{
	va_list args;

	if (!err)
		return code;
	va_start(args, format);
	*err = make(code, 0, origin, format, args);
	va_end(args);
	if (*err == &out_of_memory)
		return code;
	(*err)->file = file ? strdup(file) : NULL;
	(*err)->line = line;
	(*err)->column = column;
	return code;
}

static venv_error *changeable(venv_error **err)
{
	return err && *err && *err != &out_of_memory ? *err : NULL;
}

int venv__wrap(int r, venv_error **err, const char *format, ...)
{
	venv_error *error = changeable(err);
	_cleanup_free_ char *context = NULL;
	char *message;
	va_list args;
	int n;

	if (!error)
		return r;
	va_start(args, format);
	n = vasprintf(&context, format, args);
	va_end(args);
	if (n < 0) {
		context = NULL;
		return r;
	}
	if (asprintf(&message, "%s: %s", context, error->message) < 0)
		return r;
	free(error->message);
	error->message = message;
	return r;
}

int venv__hint(int r, venv_error **err, const char *format, ...)
{
	venv_error *error = changeable(err);
	va_list args;

	if (!error || error->hint)
		return r;
	va_start(args, format);
	if (vasprintf(&error->hint, format, args) < 0)
		error->hint = NULL;
	va_end(args);
	return r;
}

int venv__error_set_place(int r, venv_error **err, const char *file, unsigned line, unsigned column)
{
	venv_error *error = changeable(err);

	if (!error || error->file || !file || !line)
		return r;
	error->file = strdup(file);
	error->line = line;
	error->column = column;
	return r;
}

int venv__error_set_machine(int r, venv_error **err, const char *machine)
{
	venv_error *error = changeable(err);

	if (error && !error->machine && machine)
		error->machine = strdup(machine);
	return r;
}

int venv__error_set_details(int r, venv_error **err, const char *details)
{
	venv_error *error = changeable(err);

	if (error && !error->details && details && *details)
		error->details = strdup(details);
	return r;
}

void venv__error_clear(venv_error **err)
{
	if (!err)
		return;
	venv_error_free(*err);
	*err = NULL;
}

int venv__error_take(venv_error *error, venv_error **err)
{
	int code = error->code;

	if (err)
		*err = error;
	else
		venv_error_free(error);
	return code;
}

static char *copy(const char *text)
{
	return text ? strdup(text) : NULL;
}

venv_error *venv__error_copy(const venv_error *error)
{
	venv_error *ret = calloc(1, sizeof(*ret));

	if (!ret)
		return &out_of_memory;
	*ret = *error;
	ret->message = copy(error->message);
	ret->hint = copy(error->hint);
	ret->file = copy(error->file);
	ret->machine = copy(error->machine);
	ret->details = copy(error->details);
	if (!ret->message) {
		venv_error_free(ret);
		return &out_of_memory;
	}
	return ret;
}

void venv_error_free(venv_error *error)
{
	if (!error || error == &out_of_memory)
		return;
	free(error->message);
	free(error->hint);
	free(error->file);
	free(error->machine);
	free(error->details);
	free(error);
}

int venv_error_code(const venv_error *error)
{
	return error ? error->code : VENV_OK;
}

const char *venv_error_message(const venv_error *error)
{
	return error ? error->message : "no error";
}

const char *venv_error_hint(const venv_error *error)
{
	return error ? error->hint : NULL;
}

const char *venv_error_file(const venv_error *error)
{
	return error ? error->file : NULL;
}

unsigned venv_error_line(const venv_error *error)
{
	return error ? error->line : 0;
}

unsigned venv_error_column(const venv_error *error)
{
	return error ? error->column : 0;
}

const char *venv_error_machine(const venv_error *error)
{
	return error ? error->machine : NULL;
}

const char *venv_error_details(const venv_error *error)
{
	return error ? error->details : NULL;
}

const char *venv_error_origin(const venv_error *error)
{
	return error && error->origin ? error->origin : "";
}

const char *venv_code_name(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code)
			return codes[i].name;
	return code >= 0 ? "OK" : "UNKNOWN";
}

int venv_code_exit_status(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		if (codes[i].code == code)
			return codes[i].status;
	return code >= 0 ? 0 : 1;
}

void venv_string_free(char *string)
{
	free(string);
}
