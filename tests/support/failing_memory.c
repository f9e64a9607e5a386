/* SPDX-License-Identifier: Apache-2.0 */
#include "failing_memory.h"

#ifndef HAVE_SANITIZER

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

/* In front of every piece of memory; 32 bytes keep the alignment. */
struct head {
	uintptr_t magic;
	struct head *next, *previous; /* NULL: not made while counting */
	void *place;
};
_Static_assert(sizeof(struct head) == 32, "alignment");

enum { PLACES_MAX = 12 };

#define MAGIC ((uintptr_t)0x6d656d6f72795f21)

static atomic_flag busy = ATOMIC_FLAG_INIT;
static atomic_bool counting;
static long countdown;
static bool failed;
static void *places[PLACES_MAX];
static int n_places;
static struct head list = { .next = &list, .previous = &list };

static void lock(void)
{
	while (atomic_flag_test_and_set(&busy))
		(void)sched_yield();
}

static void unlock(void)
{
	atomic_flag_clear(&busy);
}

static bool allocation_fails(void)
{
	bool fails = false;

	if (!counting)
		return false;
	lock();
	if (counting && !failed && countdown >= 0)
		fails = failed = countdown-- == 0;
	unlock();
	if (!fails)
		return false;
	n_places = backtrace(places, PLACES_MAX);
	errno = ENOMEM;
	return true;
}

static void *enter(struct head *head, void *place)
{
	if (!head)
		return NULL;
	*head = (struct head){ .magic = MAGIC ^ (uintptr_t)head, .place = place };
	if (!counting)
		return head + 1;
	lock();
	head->next = list.next;
	head->previous = &list;
	list.next->previous = head;
	list.next = head;
	unlock();
	return head + 1;
}

/* NULL: it is not ours. */
static struct head *leave(void *p)
{
	struct head *head = (struct head *)p - 1;

	if (head->magic != (MAGIC ^ (uintptr_t)head))
		return NULL;
	head->magic = 0;
	if (!head->next)
		return head;
	lock();
	head->next->previous = head->previous;
	head->previous->next = head->next;
	unlock();
	return head;
}

__attribute__((visibility("default"))) void *malloc(size_t size)
{
	if (allocation_fails() || size > PTRDIFF_MAX)
		return NULL;
	return enter(__libc_malloc(size + sizeof(struct head)), __builtin_return_address(0));
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
	if (allocation_fails() || (n && size > PTRDIFF_MAX / n))
		return NULL;
	return enter(__libc_calloc(1, n * size + sizeof(struct head)), __builtin_return_address(0));
}

__attribute__((visibility("default"))) void *realloc(void *old, size_t size)
{
	struct head *head, *grown;
	void *place;

	if (!old)
		return malloc(size);
	if (allocation_fails() || size > PTRDIFF_MAX)
		return NULL;
	head = leave(old);
	if (!head)
		return __libc_realloc(old, size);
	place = head->place;
	grown = __libc_realloc(head, size + sizeof(struct head));
	return grown ? enter(grown, place) : (enter(head, place), NULL);
}

__attribute__((visibility("default"))) void free(void *p)
{
	struct head *head = p ? leave(p) : NULL;

	__libc_free(head ? (void *)head : p);
}

static void in_child(void)
{
	counting = false;
	atomic_flag_clear(&busy);
}

/* What an earlier round left may still be given back. */
static void forget_all(void)
{
	lock();
	for (struct head *head = list.next, *next; head != &list; head = next) {
		next = head->next;
		head->next = head->previous = NULL;
	}
	list.next = list.previous = &list;
	unlock();
}

void failing_memory_begin(long n)
{
	static bool prepared;
	void *warm[1];

	if (!prepared) {
		(void)backtrace(warm, 1); /* loads a library */
		(void)pthread_atfork(NULL, NULL, in_child);
	}
	prepared = true;
	forget_all();
	countdown = n;
	failed = false;
	n_places = 0;
	counting = true;
}

bool failing_memory_end(void)
{
	counting = false;
	return failed;
}

/*
 * The dynamic linker keeps what threads need, stacks are used again with it; OpenSSL keeps a thread's
 * last errors.
 */
static bool is_kept(const struct head *head, Dl_info *info)
{
	memset(info, 0, sizeof(*info));
	if (!dladdr(head->place, info) || !info->dli_fname)
		return false;
	return strstr(info->dli_fname, "/ld-linux") || strstr(info->dli_fname, "/libcrypto");
}

size_t failing_memory_lost(char *text, size_t size)
{
	Dl_info info;
	size_t n = 0;

	*text = '\0';
	for (const struct head *head = list.next; head != &list; head = head->next) {
		if (is_kept(head, &info))
			continue;
		if (n++ == 0)
			(void)snprintf(text, size, "%s %s+0x%lx",
				       info.dli_fname ? info.dli_fname : "?",
				       info.dli_sname ? info.dli_sname : "",
				       (unsigned long)((uintptr_t)head->place -
						       (uintptr_t)info.dli_fbase));
	}
	return n;
}

void failing_memory_place(char *text, size_t size)
{
	Dl_info info;
	size_t n = 0;

	*text = '\0';
	for (int i = 0; i < n_places && n < size; i++)
		if (dladdr(places[i], &info))
			n += (size_t)snprintf(
				text + n, size - n, " 0x%lx(%s)",
				(unsigned long)((uintptr_t)places[i] - (uintptr_t)info.dli_fbase),
				info.dli_sname ? info.dli_sname : "");
}

#endif
