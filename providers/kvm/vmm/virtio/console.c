/* SPDX-License-Identifier: Apache-2.0 */
#include "console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "machine/state.h"
#include "util/sys.h"

enum {
	RX = 0,
	TX = 1,
	QUEUE_SIZE = 128,
	TURN_MAX = 64,     /* requests, so that no guest keeps the worker to itself */
	PIECE = 16 * 1024, /* of output, at once */
	INPUT_MAX = 1024,
	REFILL_MS = 10,
	US_PER_SECOND = 1000000,
};

enum wait {
	WAIT_NOT,
	WAIT_RATE, /* the timer is running */
	WAIT_HOST, /* the timer is running, out_source is there */
};

struct console {
	struct virtio_device device;
	int in, out;
	struct virtio_console_config config;
	/* input: what was read and not delivered */
	struct loop_source *in_source; /* there is room */
	uint8_t input[INPUT_MAX];
	size_t input_at, input_end;
	struct virtq_chain rx;
	/* output: the request at hand, and what it waits for */
	struct virtq_chain tx;
	bool at_hand;
	enum wait wait;
	struct loop_source *timer, *out_source;
	bool deaf; /* the host does not read: throw away. out_source tells when it does */
	uint64_t allowance, since_us;
	uint64_t dropped;
};

static struct console *console_of(struct virtio_device *device)
{
	return CONTAINER_OF(device, struct console, device);
}

static struct loop *loop_of(const struct console *c)
{
	return worker_loop(c->device.worker);
}

static void forget(struct loop_source **source)
{
	venv__loop_remove(*source);
	*source = NULL;
}

/* ---- Input ---- */

static void on_input(void *user, int fd, uint32_t events);

/* A source that waits without interest would still be told of a hang-up, for ever: so there is none. */
static void watch_input(struct console *c)
{
	bool wanted = c->in >= 0 && virtio_is_live(&c->device) && c->input_at == c->input_end;

	if (!wanted)
		forget(&c->in_source);
	else if (!c->in_source)
		c->in_source = venv__loop_add(loop_of(c), c->in, EPOLLIN, on_input, c);
}

/* Under lock. */
static void deliver(struct console *c)
{
	unsigned n = 0;

	while (c->input_at < c->input_end && n < TURN_MAX &&
	       virtio_pop(&c->device, RX, &c->rx) > 0) {
		c->input_at += virtq_chain_write(&c->rx, c->input + c->input_at,
						 c->input_end - c->input_at);
		virtio_complete(&c->device, RX, c->rx.head, c->rx.write_done, true);
		n++;
	}
	if (n == TURN_MAX || (c->input_at < c->input_end && virtq_listen(&c->device.queue[RX])))
		virtio_again(&c->device, RX);
	if (n)
		virtio_signal(&c->device, RX);
	watch_input(c);
}

static void on_input(void *user, int fd, uint32_t events)
{
	struct console *c = user;
	ssize_t n;

	(void)events;
	(void)pthread_mutex_lock(&c->device.lock);
	n = read(fd, c->input, sizeof(c->input)); /* there is a source only while it is empty */
	c->input_at = 0;
	c->input_end = n > 0 ? (size_t)n : 0;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) { /* nobody there any more */
		forget(&c->in_source);
		(void)close(c->in);
		c->in = -1;
	} else {
		deliver(c);
	}
	(void)pthread_mutex_unlock(&c->device.lock);
}

/* ---- Output ---- */

static void on_timer(void *user, int fd, uint32_t events);
static void on_writable(void *user, int fd, uint32_t events);

static uint64_t refill(struct console *c)
{
	uint64_t now = venv__now_us();
	uint64_t more = MIN(now - c->since_us, US_PER_SECOND) * CONSOLE_RATE / US_PER_SECOND;

	if (more) {
		c->allowance = MIN(c->allowance + more, CONSOLE_BURST);
		c->since_us = now;
	}
	return c->allowance;
}

/* @return false: no timer, so nobody would go on */
static bool wait_for(struct console *c, enum wait what, uint64_t ms)
{
	c->timer = venv__loop_timer(loop_of(c), ms, 0, on_timer, c);
	c->wait = c->timer ? what : WAIT_NOT;
	return c->timer != NULL;
}

static bool wait_for_host(struct console *c)
{
	if (!c->out_source)
		c->out_source = venv__loop_add(loop_of(c), c->out, EPOLLOUT, on_writable, c);
	return c->out_source && wait_for(c, WAIT_HOST, CONSOLE_PATIENCE_MS);
}

static void drop(struct console *c)
{
	c->dropped += virtq_chain_skip(&c->tx, UINT32_MAX);
}

enum sent { SENT, SENT_WAITS, SENT_NEVER };

/* Some of the piece, which is not empty. */
static enum sent send_piece(struct console *c, const struct iovec *piece)
{
	ssize_t n;

	if (c->out < 0 || c->deaf)
		return SENT_NEVER;
	if (!refill(c))
		return wait_for(c, WAIT_RATE, REFILL_MS) ? SENT_WAITS : SENT_NEVER;
	n = write(c->out, piece->iov_base, MIN(MIN(piece->iov_len, PIECE), c->allowance));
	if (n > 0) {
		(void)virtq_chain_skip(&c->tx, (size_t)n);
		c->allowance -= (uint64_t)n;
		return SENT;
	}
	if (n < 0 && errno == EINTR)
		return SENT;
	if (n < 0 && errno == EAGAIN && wait_for_host(c))
		return SENT_WAITS;
	return SENT_NEVER;
}

/* @return whether the request at hand is done; false: something is waited for */
static bool send_at_hand(struct console *c)
{
	struct iovec piece = virtq_chain_peek(&c->tx);

	while (piece.iov_len) {
		enum sent sent = send_piece(c, &piece);

		if (sent == SENT_WAITS)
			return false;
		if (sent == SENT_NEVER)
			drop(c);
		piece = virtq_chain_peek(&c->tx);
	}
	return true;
}

/* Under lock. */
static void work(struct console *c)
{
	struct virtq *queue = &c->device.queue[TX];
	bool any = false;
	unsigned n = 0;

	virtq_mute(queue);
	while (c->wait == WAIT_NOT) {
		int r = c->at_hand ? 1 : virtio_pop(&c->device, TX, &c->tx);

		if (r < 0 || (r == 0 && !virtq_listen(queue)))
			break;
		if (r == 0)
			continue;
		c->at_hand = true;
		if (!send_at_hand(c))
			break;
		c->at_hand = false;
		virtio_complete(&c->device, TX, c->tx.head, 0, true);
		any = true;
		if (++n == TURN_MAX) {
			virtio_again(&c->device, TX);
			break;
		}
	}
	if (any)
		virtio_signal(&c->device, TX);
}

static void on_timer(void *user, int fd, uint32_t events)
{
	struct console *c = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&c->device.lock);
	c->timer = NULL; /* it has removed itself */
	c->deaf = c->wait == WAIT_HOST;
	c->wait = WAIT_NOT;
	work(c);
	(void)pthread_mutex_unlock(&c->device.lock);
}

static void stop_waiting(struct console *c)
{
	forget(&c->timer);
	forget(&c->out_source);
	c->wait = WAIT_NOT;
	c->deaf = false;
}

static void on_writable(void *user, int fd, uint32_t events)
{
	struct console *c = user;

	(void)fd;
	(void)events;
	(void)pthread_mutex_lock(&c->device.lock);
	stop_waiting(c);
	work(c);
	(void)pthread_mutex_unlock(&c->device.lock);
}

/* ---- The device ---- */

static void on_config_read(struct virtio_device *device, uint32_t offset, void *data, size_t size)
{
	memcpy(data, (const uint8_t *)&console_of(device)->config + offset, size);
}

static int on_activate(struct virtio_device *device)
{
	struct console *c = console_of(device);

	c->allowance = CONSOLE_BURST;
	c->since_us = venv__now_us();
	return 0; /* input is watched from the first look at the queues on */
}

static void on_reset(struct virtio_device *device)
{
	struct console *c = console_of(device);

	stop_waiting(c);
	forget(&c->in_source);
	c->at_hand = false;
}

static void on_notify(struct virtio_device *device, unsigned queue)
{
	if (queue == RX)
		deliver(console_of(device));
	else if (console_of(device)->wait == WAIT_NOT)
		work(console_of(device));
}

/* The request at hand is given back now: what the host does not take is lost. */
static void on_drain(struct virtio_device *device)
{
	struct console *c = console_of(device);

	stop_waiting(c);
	if (!c->at_hand)
		return;
	virtio_again(device, TX); /* what came behind it rang no bell */
	if (!send_at_hand(c)) {
		stop_waiting(c);
		drop(c);
	}
	c->at_hand = false;
	virtio_complete(device, TX, c->tx.head, 0, false);
}

static void on_free(struct virtio_device *device)
{
	struct console *c = console_of(device);

	virtio_device_done(device);
	if (c->in >= 0)
		(void)close(c->in);
	if (c->out >= 0)
		(void)close(c->out);
	free(c);
}

#define CONSOLE_TAG STATE_TAG('C', 'O', 'N', 'S')
enum { CONSOLE_VERSION = 1 };

static int on_save(struct virtio_device *device, struct state_writer *writer)
{
	const struct console *c = console_of(device);

	state_begin(writer, CONSOLE_TAG, CONSOLE_VERSION);
	state_put_u16(writer, c->config.cols);
	state_put_u16(writer, c->config.rows);
	state_put_u32(writer, (uint32_t)(c->input_end - c->input_at));
	state_put(writer, c->input + c->input_at, c->input_end - c->input_at);
	return state_end(writer);
}

static int on_load(struct virtio_device *device, struct state_reader *reader)
{
	struct console *c = console_of(device);
	uint32_t length;
	int r = state_enter(reader, CONSOLE_TAG, CONSOLE_VERSION);

	if (r < 0)
		return r;
	c->config.cols = state_get_u16(reader);
	c->config.rows = state_get_u16(reader);
	length = state_get_u32(reader);
	if (length > sizeof(c->input))
		return -EPROTO;
	state_get(reader, c->input, length);
	c->input_at = 0;
	c->input_end = length;
	return state_leave(reader);
}

static const struct virtio_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.config_read = on_config_read,
	.activate = on_activate,
	.reset = on_reset,
	.notify = on_notify,
	.drain = on_drain,
	.save = on_save,
	.load = on_load,
	.free = on_free,
};

int virtio_console_new(const struct mem *mem, struct worker *worker, int in, int out,
		       struct virtio_device **ret, venv_error **err)
{
	static const uint16_t sizes[] = { QUEUE_SIZE, QUEUE_SIZE };
	_cleanup_close_ int own_in = in;
	_cleanup_close_ int own_out = out;
	struct console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return venv__fail_nomem(err);
	c->config.cols = 80;
	c->config.rows = 25;
	c->device.config_size = offsetof(struct virtio_console_config, max_nr_ports);
	r = virtio_device_init(&c->device, &console_ops, mem, worker, 1ULL << VIRTIO_CONSOLE_F_SIZE,
			       sizes, 2, err);
	if (r < 0) {
		free(c);
		return r;
	}
	c->in = take_fd(&own_in);
	c->out = take_fd(&own_out);
	*ret = &c->device;
	return 0;
}

void virtio_console_resize(struct virtio_device *device, uint16_t columns, uint16_t rows)
{
	struct console *c = console_of(device);

	(void)pthread_mutex_lock(&device->lock);
	c->config.cols = columns;
	c->config.rows = rows;
	virtio_config_changed(device);
	(void)pthread_mutex_unlock(&device->lock);
}

uint64_t virtio_console_dropped(struct virtio_device *device)
{
	uint64_t dropped;

	(void)pthread_mutex_lock(&device->lock);
	dropped = console_of(device)->dropped;
	(void)pthread_mutex_unlock(&device->lock);
	return dropped;
}
