/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors: one object, made where the cause is known, passed up through the last argument of every
 * function that can fail. Only the return value tells failure: nobody reads *err to find out.
 */
#ifndef VENV_UTIL_ERROR_H
#define VENV_UTIL_ERROR_H

#include <stdarg.h>

#include <venv.h>

#include "cleanup.h"

struct venv_error {
	int code;        /* negative enum venv_code */
	int sys_errno;   /* 0 when no system call failed */
	char *message;   /* one line, lower case, no full stop */
	char *hint;      /* imperative, with a command to run; may be NULL */
	char *file;      /* the user's file; may be NULL */
	unsigned line;   /* from 1 */
	unsigned column; /* from 1 */
	char *machine;   /* may be NULL */
	char *details;   /* several lines; may be NULL */
	const char *origin;
};

#define VENV__ORIGIN __FILE_NAME__ ":" STRINGIFY(__LINE__)

/* Set *err (if err) and return code. */
#define venv__fail(err, code, ...) venv__fail_from(err, VENV__ORIGIN, code, 0, __VA_ARGS__)
/* The same for a failed system call: the code comes from the errno, its text is appended. */
#define venv__fail_errno(err, number, ...)                                                         \
	venv__fail_from(err, VENV__ORIGIN, 0, number, __VA_ARGS__)
/* The same at a place in a file of the user's. */
#define venv__fail_at(err, code, file, line, column, ...)                                          \
	venv__fail_place(err, VENV__ORIGIN, code, file, line, column, __VA_ARGS__)
#define venv__fail_nomem(err) venv__fail(err, VENV_ERR_NOMEM, "out of memory")

int venv__fail_from(venv_error **err, const char *origin, int code, int number, const char *format,
		    ...) _printf_(5, 6);
int venv__fail_place(venv_error **err, const char *origin, int code, const char *file,
		     unsigned line, unsigned column, const char *format, ...) _printf_(7, 8);

/* Put "context: " before the message. Returns r, also when err is NULL. */
int venv__wrap(int r, venv_error **err, const char *format, ...) _printf_(3, 4);
/* Set the hint if there is none yet: the innermost knows best. Returns r. */
int venv__hint(int r, venv_error **err, const char *format, ...) _printf_(3, 4);
/* Tell where in the user's file, if no place is told (line 0: there is none). Returns r. */
int venv__error_set_place(int r, venv_error **err, const char *file, unsigned line,
			  unsigned column);
/* Name the machine, if none is named. Returns r. */
int venv__error_set_machine(int r, venv_error **err, const char *machine);
/* Give the details, if there are none. Returns r. */
int venv__error_set_details(int r, venv_error **err, const char *details);
/* Drop an error that was dealt with: *err becomes NULL. */
void venv__error_clear(venv_error **err);
/* Hand an error on: copies the pointer if err, else frees it. Returns the code. */
int venv__error_take(venv_error *error, venv_error **err);
venv_error *venv__error_copy(const venv_error *error);
/* The code that fits an errno. */
int venv__code_of_errno(int number);

/* What the analyzer cannot see from here: these never return success. */
#ifdef __clang_analyzer__
#undef venv__fail
#undef venv__fail_errno
#undef venv__fail_at
#define venv__fail(err, code, ...)                                                                 \
	((void)venv__fail_from(err, VENV__ORIGIN, code, 0, __VA_ARGS__), (code))
#define venv__fail_errno(err, number, ...)                                                         \
	((void)venv__fail_from(err, VENV__ORIGIN, 0, number, __VA_ARGS__), VENV_ERR_SYSTEM)
#define venv__fail_at(err, code, file, line, column, ...)                                          \
	((void)venv__fail_place(err, VENV__ORIGIN, code, file, line, column, __VA_ARGS__), (code))
#define venv__wrap(r, ...) ((void)venv__wrap(r, __VA_ARGS__), (r))
#define venv__hint(r, ...) ((void)venv__hint(r, __VA_ARGS__), (r))
#endif

DEFINE_CLEANUP(venv_error *, venv__cleanup_error, venv_error_free)
#define _cleanup_error_ _cleanup_(venv__cleanup_error)

#endif
