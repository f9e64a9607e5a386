/* SPDX-License-Identifier: Apache-2.0 */
#include "msix.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "machine/state.h"

enum { CAP_CONTROL = PCI_MSIX_FLAGS - 2 }; /* in the capability's body */

int msix_init(struct msix *msix, const struct irq_platform *platform, unsigned n_vectors,
	      struct pci_function *function, unsigned bar, uint32_t table, uint32_t pba)
{
	uint8_t body[PCI_CAP_MSIX_SIZEOF - 2] = { 0 }, mask[PCI_CAP_MSIX_SIZEOF - 2] = { 0 };
	uint32_t table_register = table | bar, pba_register = pba | bar;

	*msix = (struct msix){ .platform = platform, .n_vectors = n_vectors };
	for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++)
		msix->vector[i] = (struct msix_vector){ .eventfd = -1, .control = 1 };
	(void)pthread_mutex_init(&msix->lock, NULL);
	for (unsigned i = 0; i < n_vectors; i++) {
		msix->vector[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (msix->vector[i].eventfd < 0)
			return -errno;
	}
	body[CAP_CONTROL] = (uint8_t)(n_vectors - 1);
	mask[CAP_CONTROL + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
	memcpy(body + PCI_MSIX_TABLE - 2, &table_register, 4);
	memcpy(body + PCI_MSIX_PBA - 2, &pba_register, 4);
	msix->capability = pci_add_capability(function, PCI_CAP_ID_MSIX, body, mask, sizeof(body));
	return msix->capability < 0 ? msix->capability : 0;
}

/* Under lock: give the vector the route that it should have; message: it has another one now. */
static void settle(struct msix *msix, struct msix_vector *vector, bool message)
{
	const struct irq_platform *platform = msix->platform;
	bool route = msix->enabled && !msix->masked && !(vector->control & 1);

	if (route == vector->routed && !(route && message))
		return;
	/* A platform that cannot has no interrupt for the guest; nothing else breaks. */
	vector->routed = platform->ops->route(platform->user, vector->eventfd,
					      route ? &vector->message : NULL) == 0 &&
			 route;
}

static void settle_all(struct msix *msix)
{
	for (unsigned i = 0; i < msix->n_vectors; i++)
		settle(msix, &msix->vector[i], false);
}

/* Under lock. */
static void forget(struct msix *msix)
{
	eventfd_t count;

	msix->enabled = msix->masked = false;
	settle_all(msix);
	for (unsigned i = 0; i < msix->n_vectors; i++) {
		msix->vector[i].message = (struct irq_message){ 0 };
		msix->vector[i].control = 1;
		(void)eventfd_read(msix->vector[i].eventfd, &count);
	}
}

void msix_reset(struct msix *msix)
{
	(void)pthread_mutex_lock(&msix->lock);
	forget(msix);
	(void)pthread_mutex_unlock(&msix->lock);
}

void msix_done(struct msix *msix)
{
	msix_reset(msix);
	for (unsigned i = 0; i < msix->n_vectors; i++)
		if (msix->vector[i].eventfd >= 0)
			(void)close(msix->vector[i].eventfd);
	(void)pthread_mutex_destroy(&msix->lock);
}

void msix_config_written(struct msix *msix, const struct pci_function *function, unsigned offset,
			 size_t size)
{
	unsigned at = (unsigned)msix->capability + PCI_MSIX_FLAGS;
	uint16_t control;

	if (offset >= at + 2 || offset + size <= at)
		return;
	memcpy(&control, function->config + at, sizeof(control));
	(void)pthread_mutex_lock(&msix->lock);
	msix->enabled = control & PCI_MSIX_FLAGS_ENABLE;
	msix->masked = control & PCI_MSIX_FLAGS_MASKALL;
	settle_all(msix);
	(void)pthread_mutex_unlock(&msix->lock);
}

void msix_fire(struct msix *msix, unsigned vector)
{
	if (vector >= msix->n_vectors)
		return;
	(void)pthread_mutex_lock(&msix->lock);
	if (msix->enabled)
		(void)eventfd_write(msix->vector[vector].eventfd, 1);
	(void)pthread_mutex_unlock(&msix->lock);
}

/* ---- The table ---- */

/* The 32-bit words of an entry. */
static uint32_t get_word(const struct msix_vector *vector, unsigned word)
{
	switch (word) {
	case 0:
		return (uint32_t)vector->message.address;
	case 1:
		return (uint32_t)(vector->message.address >> 32);
	case 2:
		return vector->message.data;
	default:
		return vector->control;
	}
}

static void set_word(struct msix_vector *vector, unsigned word, uint32_t value)
{
	uint64_t address = vector->message.address;

	switch (word) {
	case 0:
		vector->message.address = (address & ~0xffffffffULL) | (value & ~3U);
		break;
	case 1:
		vector->message.address = (address & 0xffffffffULL) | (uint64_t)value << 32;
		break;
	case 2:
		vector->message.data = value;
		break;
	default:
		vector->control = value & 1;
		break;
	}
}

static bool is_word_access(uint64_t offset, size_t size)
{
	return (size == 4 || size == 8) && offset % size == 0;
}

static bool is_table_access(const struct msix *msix, uint64_t offset, size_t size)
{
	return is_word_access(offset, size) && offset / MSIX_ENTRY_SIZE < msix->n_vectors;
}

void msix_table_read(struct msix *msix, uint64_t offset, void *data, size_t size)
{
	if (!is_table_access(msix, offset, size))
		return;
	(void)pthread_mutex_lock(&msix->lock);
	for (size_t i = 0; i < size; i += 4) {
		unsigned word = (unsigned)((offset + i) % MSIX_ENTRY_SIZE / 4);
		uint32_t value = get_word(&msix->vector[offset / MSIX_ENTRY_SIZE], word);

		memcpy((uint8_t *)data + i, &value, 4);
	}
	(void)pthread_mutex_unlock(&msix->lock);
}

void msix_table_write(struct msix *msix, uint64_t offset, const void *data, size_t size)
{
	struct msix_vector *vector;
	struct irq_message before;

	if (!is_table_access(msix, offset, size))
		return;
	(void)pthread_mutex_lock(&msix->lock);
	vector = &msix->vector[offset / MSIX_ENTRY_SIZE];
	before = vector->message;
	for (size_t i = 0; i < size; i += 4) {
		unsigned word = (unsigned)((offset + i) % MSIX_ENTRY_SIZE / 4);
		uint32_t value;

		memcpy(&value, (const uint8_t *)data + i, 4);
		set_word(vector, word, value);
	}
	settle(msix, vector,
	       before.address != vector->message.address || before.data != vector->message.data);
	(void)pthread_mutex_unlock(&msix->lock);
}

/* ---- The pending bits ---- */

static bool is_pending(const struct msix_vector *vector)
{
	struct pollfd poll_fd = { .fd = vector->eventfd, .events = POLLIN };

	return !vector->routed && poll(&poll_fd, 1, 0) == 1;
}

void msix_pba_read(struct msix *msix, uint64_t offset, void *data, size_t size)
{
	uint64_t bits = 0;

	if (!is_word_access(offset, size) || offset >= 8)
		return;
	(void)pthread_mutex_lock(&msix->lock);
	for (unsigned i = 0; i < msix->n_vectors; i++)
		if (is_pending(&msix->vector[i]))
			bits |= 1ULL << i;
	(void)pthread_mutex_unlock(&msix->lock);
	bits >>= 8 * offset;
	memcpy(data, &bits, size);
}

/* ---- State ---- */

#define MSIX_TAG STATE_TAG('M', 'S', 'I', 'X')
enum { MSIX_VERSION = 1 };

int msix_save(struct msix *msix, struct state_writer *writer)
{
	(void)pthread_mutex_lock(&msix->lock);
	state_begin(writer, MSIX_TAG, MSIX_VERSION);
	state_put_u8(writer, (uint8_t)msix->n_vectors);
	state_put_u8(writer, msix->enabled);
	state_put_u8(writer, msix->masked);
	for (unsigned i = 0; i < msix->n_vectors; i++) {
		const struct msix_vector *vector = &msix->vector[i];

		state_put_u64(writer, vector->message.address);
		state_put_u32(writer, vector->message.data);
		state_put_u8(writer, (uint8_t)vector->control);
		state_put_u8(writer, is_pending(vector));
	}
	(void)pthread_mutex_unlock(&msix->lock);
	return state_end(writer);
}

static void load_vector(struct msix_vector *vector, struct state_reader *reader)
{
	vector->message.address = state_get_u64(reader);
	vector->message.data = state_get_u32(reader);
	vector->control = state_get_u8(reader) & 1;
	if (state_get_u8(reader))
		(void)eventfd_write(vector->eventfd, 1);
}

int msix_load(struct msix *msix, struct state_reader *reader)
{
	int r = state_enter(reader, MSIX_TAG, MSIX_VERSION);

	if (r < 0)
		return r;
	if (state_get_u8(reader) != msix->n_vectors)
		return -EPROTO;
	(void)pthread_mutex_lock(&msix->lock);
	forget(msix);
	msix->enabled = state_get_u8(reader);
	msix->masked = state_get_u8(reader);
	for (unsigned i = 0; i < msix->n_vectors; i++)
		load_vector(&msix->vector[i], reader);
	r = state_leave(reader);
	if (r == 0)
		settle_all(msix);
	else
		forget(msix);
	(void)pthread_mutex_unlock(&msix->lock);
	return r;
}
