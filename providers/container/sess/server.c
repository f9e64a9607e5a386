/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one connection: key exchange and login within a time, then the loop. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "sess.h"
#include "util/sys.h"

enum { GRACE_MS = 30000, PACKETS_PER_TURN = 16 };

static void on_grow(struct poll_set *set)
{
	size_t capacity = set->capacity ? set->capacity * 2 : 32;
	struct pollfd *fds = realloc(set->fds, capacity * sizeof(*fds));
	struct watch *watches;

	if (fds)
		set->fds = fds;
	watches = realloc(set->watches, capacity * sizeof(*watches));
	if (watches)
		set->watches = watches;
	set->failed = !fds || !watches;
	if (!set->failed)
		set->capacity = capacity;
}

void sess_poll_add(struct poll_set *set, int fd, short events, watch_fn fn, void *user)
{
	if (set->count == set->capacity)
		on_grow(set);
	if (set->failed)
		return;
	set->fds[set->count] = (struct pollfd){ .fd = fd, .events = events };
	set->watches[set->count++] = (struct watch){ .fn = fn, .user = user };
}

/* The peer's ACK would wait 40 ms for our next packet, and the peer (Nagle) for that ACK. */
static void ack_at_once(const struct sess *sess)
{
	int one = 1;

	if (sess->tcp)
		(void)setsockopt(sess->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static short session_events(const struct sess *sess)
{
	return venv__flow_flushed(sess->session) ? POLLIN : POLLIN | POLLOUT;
}

static int exchange_keys(struct sess *sess, uint64_t deadline_us)
{
	for (;;) {
		struct pollfd p = { .fd = sess->fd };
		uint64_t now;
		int r = ssh_handle_key_exchange(sess->session);

		if (r == SSH_OK)
			return 0;
		if (r != SSH_AGAIN)
			return -1;
		now = venv__now_us();
		if (now >= deadline_us)
			return -1;
		ack_at_once(sess);
		p.events = session_events(sess);
		if (poll(&p, 1, (int)((deadline_us - now) / 1000) + 1) < 0 && errno != EINTR)
			return -1;
	}
}

static void on_packets(void *user, short revents)
{
	struct sess *sess = user;
	struct pollfd p = { .fd = sess->fd, .events = POLLIN };

	(void)revents;
	for (int i = 0; i < PACKETS_PER_TURN; i++) {
		if (ssh_event_dopoll(sess->event, 0) == SSH_ERROR ||
		    !ssh_is_connected(sess->session)) {
			sess->broken = true;
			return;
		}
		if (poll(&p, 1, 0) <= 0)
			return;
	}
}

static void collect(struct sess *sess, struct poll_set *set)
{
	set->count = 0;
	set->timeout_ms = -1;
	sess_poll_add(set, sess->fd, session_events(sess), on_packets, sess);
	keeper_poll(&sess->keeper, set);
	forward_poll(sess, set);
	for (struct chan *chan = sess->channels; chan; chan = chan->next)
		chan_poll(chan, set);
}

/* The one place where channels, listeners and calls are freed. */
static void reap(struct sess *sess)
{
	struct chan **p = &sess->channels;

	while (*p) {
		struct chan *chan = *p;

		if (!chan->gone && !chan->finished) {
			p = &chan->next;
			continue;
		}
		*p = chan->next;
		sess->n_channels--;
		chan_free(chan);
	}
	forward_reap(sess, false);
	keeper_reap(&sess->keeper);
}

static void turn(struct sess *sess, struct poll_set *set, uint64_t deadline_us)
{
	uint64_t now = venv__now_us();
	int timeout;

	collect(sess, set);
	timeout = set->timeout_ms;
	if (!sess->authenticated) {
		ack_at_once(sess);
		timeout = now < deadline_us ? (int)((deadline_us - now) / 1000) + 1 : 0;
	}
	if (set->failed || (poll(set->fds, (nfds_t)set->count, timeout) < 0 && errno != EINTR)) {
		sess->broken = true;
		return;
	}
	for (size_t i = 0; i < set->count; i++)
		if (set->fds[i].revents)
			set->watches[i].fn(set->watches[i].user, set->fds[i].revents);
	for (struct chan *chan = sess->channels; chan && !sess->broken; chan = chan->next)
		chan_run(chan);
	reap(sess);
	if (!sess->authenticated && venv__now_us() >= deadline_us)
		sess->broken = true;
}

int sess_serve(struct sess *sess)
{
	uint64_t deadline_us = venv__now_us() + (uint64_t)GRACE_MS * 1000;
	struct poll_set set = { 0 };

	ssh_set_blocking(sess->session, 0);
	auth_callbacks(sess);
	if (exchange_keys(sess, deadline_us) < 0)
		return -1;
	sess->event = ssh_event_new();
	if (!sess->event || ssh_event_add_session(sess->event, sess->session) != SSH_OK)
		return -1;
	while (!sess->broken)
		turn(sess, &set, deadline_us);
	while (sess->channels) {
		struct chan *chan = sess->channels;

		sess->channels = chan->next;
		chan_free(chan);
	}
	forward_reap(sess, true);
	free(set.fds);
	free(set.watches);
	return 0;
}
