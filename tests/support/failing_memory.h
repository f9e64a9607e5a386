/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator for the whole program, C library and other libraries included, of which allocation n
 * fails. What is made while it counts is remembered with its place, so that a loss can be named.
 * Children of fork() get all the memory they want.
 */
#ifndef VENV_FAILING_MEMORY_H
#define VENV_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAVE_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAVE_SANITIZER 1 /* which has an allocator of its own */
#endif
#endif

/* From now on let allocation n fail, counted from 0; -1: none. */
void failing_memory_begin(long n);
/* true: it has failed. */
bool failing_memory_end(void);
/* What was made between the two and is still there; describes the first into text. */
size_t failing_memory_lost(char *text, size_t size);
/* The place of the allocation that failed. */
void failing_memory_place(char *text, size_t size);

#endif
