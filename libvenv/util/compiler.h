/* SPDX-License-Identifier: Apache-2.0 */
/* The extensions of GNU C that the project uses, by name. */
#ifndef VENV_UTIL_COMPILER_H
#define VENV_UTIL_COMPILER_H

#define _printf_(string, first) __attribute__((format(printf, string, first)))
/* unused: clang calls a variable so that is only there for its cleanup */
#define _cleanup_(function) __attribute__((cleanup(function), unused))
#define _unused_ __attribute__((unused))
/* For what runs on a stack that its function never returns on, which would stay poisoned. */
#define _no_asan_ __attribute__((no_sanitize("address"), noinline))
#define _check_ __attribute__((warn_unused_result))

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

#endif
