/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: three threads on a ring of slots. The reader fills slots (read, inflate), the
 * hasher and the caller (who parses the tar) follow at their own pace; a slot is free when both have
 * left it. So inflating, hashing and writing go on at once, and a slow disk stops the reader after
 * SLOTS * SLOT_SIZE bytes. Each counter has one writer and is changed under the lock. Who stops
 * early (an error, the end of the tar) sets `stop`; the reader's own error is kept for the caller.
 */
#include <pthread.h>
#include <string.h>

#include "unpack.h"
#include "unpack_inflate.h"

enum { SLOTS = 16, SLOT_SIZE = 256 * 1024, MARK_SIZE = 512 };

struct slot {
	unsigned char *data;
	size_t length;
};

struct stream {
	struct source source;
	struct inflater *inflater;
	struct limits limits;
	struct slot slots[SLOTS];
	unsigned char *memory;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	pthread_t reader, hasher;
	unsigned n_threads;
	uint64_t filled, hashed, parsed; /* slots */
	uint64_t position;               /* bytes read of the descriptor */
	bool holding;                    /* the caller has slot `parsed` */
	bool ended;                      /* nothing comes after `filled` */
	bool stop;
	int result; /* of the reader */
	venv_error *error;
	struct digest *digest;
	unsigned char tail[MARK_SIZE]; /* the last bytes of the stream */
	size_t tail_length;
};

/* ---- Reader ------------------------------------------------------------------------------- */

static bool wait_for_room(struct stream *s)
{
	bool stop;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && s->filled - MIN(s->hashed, s->parsed) >= SLOTS)
		pthread_cond_wait(&s->changed, &s->lock);
	stop = s->stop;
	pthread_mutex_unlock(&s->lock);
	return !stop;
}

static int check_ratio(const struct stream *s, uint64_t out, venv_error **err)
{
	uint64_t in = venv__inflater_position(s->inflater);

	if (out <= LIMIT_RATIO_FREE || out / s->limits.ratio <= in)
		return 0;
	return venv__fail(
		err, VENV_ERR_BOX,
		"%llu compressed bytes became more than %llu: this is a decompression bomb",
		(unsigned long long)in, (unsigned long long)out);
}

static void *read_all(void *user)
{
	struct stream *s = user;
	venv_error *error = NULL;
	uint64_t out = 0;
	int r = 0;

	while (wait_for_room(s)) {
		struct slot *slot = &s->slots[s->filled % SLOTS];

		r = venv__inflater_read(s->inflater, slot->data, SLOT_SIZE, &slot->length, &error);
		out += r < 0 ? 0 : slot->length;
		if (r >= 0 && slot->length)
			r = check_ratio(s, out, &error);
		if (r < 0 || !slot->length)
			break;
		pthread_mutex_lock(&s->lock);
		s->position = venv__inflater_position(s->inflater);
		s->filled++;
		pthread_cond_broadcast(&s->changed);
		pthread_mutex_unlock(&s->lock);
	}
	pthread_mutex_lock(&s->lock);
	s->ended = true;
	s->result = r < 0 ? r : 0;
	s->error = error;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- Hasher ------------------------------------------------------------------------------- */

/* The next slot for a follower at *counter, or NULL at the end. */
static const struct slot *wait_for_slot(struct stream *s, const uint64_t *counter)
{
	const struct slot *slot = NULL;

	pthread_mutex_lock(&s->lock);
	while (!s->stop && !s->ended && *counter == s->filled)
		pthread_cond_wait(&s->changed, &s->lock);
	if (!s->stop && *counter < s->filled)
		slot = &s->slots[*counter % SLOTS];
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void leave_slot(struct stream *s, uint64_t *counter)
{
	pthread_mutex_lock(&s->lock);
	(*counter)++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

static void keep_tail(struct stream *s, const struct slot *slot)
{
	size_t n = MIN(slot->length, (size_t)MARK_SIZE), kept = MIN(s->tail_length, MARK_SIZE - n);

	memmove(s->tail, s->tail + s->tail_length - kept, kept);
	memcpy(s->tail + kept, slot->data + slot->length - n, n);
	s->tail_length = kept + n;
}

static void *hash_all(void *user)
{
	struct stream *s = user;
	const struct slot *slot;

	while ((slot = wait_for_slot(s, &s->hashed))) {
		venv__digest_add(s->digest, slot->data, slot->length);
		keep_tail(s, slot);
		leave_slot(s, &s->hashed);
	}
	return NULL;
}

/* ---- Caller ------------------------------------------------------------------------------- */

static int next_chunk(struct source *source, const void **ret, size_t *ret_length, venv_error **err)
{
	struct stream *s = CONTAINER_OF(source, struct stream, source);
	const struct slot *slot;

	if (s->holding)
		leave_slot(s, &s->parsed);
	s->holding = false;
	slot = wait_for_slot(s, &s->parsed);
	if (slot) {
		s->holding = true;
		*ret = slot->data;
		*ret_length = slot->length;
		return 1;
	}
	/* ended and the reader is done with these */
	if (s->result < 0)
		return s->error ? venv__error_take(take_ptr(s->error), err) : s->result;
	return 0;
}

static int start_threads(struct stream *s)
{
	int r = pthread_create(&s->reader, NULL, read_all, s);

	if (r == 0) {
		s->n_threads++;
		r = pthread_create(&s->hasher, NULL, hash_all, s);
	}
	if (r == 0)
		s->n_threads++;
	return -r;
}

static void join_threads(struct stream *s)
{
	if (s->n_threads > 1)
		(void)pthread_join(s->hasher, NULL);
	if (s->n_threads > 0)
		(void)pthread_join(s->reader, NULL);
	s->n_threads = 0;
}

struct stream *venv__stream_new(int fd, const struct limits *limits, venv_error **err)
{
	struct stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		(void)venv__fail_nomem(err);
		return NULL;
	}
	s->source.next = next_chunk;
	s->limits = *limits;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
	s->memory = malloc((size_t)SLOTS * SLOT_SIZE);
	s->digest = venv__digest_new();
	if (!s->memory || !s->digest) {
		(void)venv__fail_nomem(err);
		venv__stream_free(s);
		return NULL;
	}
	for (size_t i = 0; i < SLOTS; i++)
		s->slots[i].data = s->memory + i * SLOT_SIZE;
	r = venv__inflater_new(fd, &s->inflater, err);
	if (r == 0) {
		r = start_threads(s);
		if (r < 0)
			r = venv__fail_errno(err, -r, "cannot start a thread");
	}
	if (r < 0) {
		venv__stream_free(s);
		return NULL;
	}
	return s;
}

struct source *venv__stream_source(struct stream *s)
{
	return &s->source;
}

uint64_t venv__stream_position(struct stream *s)
{
	uint64_t position;

	pthread_mutex_lock(&s->lock);
	position = s->position;
	pthread_mutex_unlock(&s->lock);
	return position;
}

int venv__stream_finish(struct stream *s, char ret_hex[DIGEST_HEX_SIZE], bool *ret_marked,
			venv_error **err)
{
	const void *data;
	size_t length;
	int r;

	do
		r = s->source.next(&s->source, &data, &length, err);
	while (r > 0);
	if (r < 0)
		return r;
	join_threads(s);
	venv__digest_end(take_ptr(s->digest), ret_hex);
	*ret_marked = s->tail_length == MARK_SIZE;
	for (size_t i = 0; i < s->tail_length; i++)
		*ret_marked = *ret_marked && !s->tail[i];
	return 0;
}

void venv__stream_free(struct stream *s)
{
	if (!s)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	join_threads(s);
	venv__inflater_free(s->inflater);
	venv__digest_free(s->digest);
	venv_error_free(s->error);
	(void)pthread_mutex_destroy(&s->lock);
	(void)pthread_cond_destroy(&s->changed);
	free(s->memory);
	free(s);
}
