/* SPDX-License-Identifier: Apache-2.0 */
/* Shared folders through all of the transport: what the device adds to the FUSE server. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "support/vmm_driver.h"
#include "util/file.h"
#include "virtio/fs.h"
#include "virtio/pci.h"

enum { SLOT = 3, MIB = 1 << 20, HIPRIO = 0, REQUESTS = 1, OUT = 4096, QUEUES = 2 };

struct world {
	struct vmm_platform *platform;
	struct virtio_device *device;
	struct virtio_pci *transport;
	struct vmm_driver driver;
	char path[64];
	int dir;
	uint64_t unique;
	uint64_t in[8], out[8]; /* buffers of the guest's, for requests that are under way */
};

/* What a guest's request needs: a head to wait for. */
static int send(struct world *w, unsigned slot, unsigned queue, uint32_t opcode, uint64_t node,
		const void *args, uint32_t size)
{
	struct fuse_in_header *header = vmm_at(w->platform, w->in[slot], OUT);
	const struct vmm_buffer buffers[] = {
		{ w->in[slot], sizeof(*header), false },
		{ w->in[slot] + sizeof(*header), size, false },
		{ w->out[slot], sizeof(struct fuse_out_header), true },
		{ w->out[slot] + sizeof(struct fuse_out_header),
		  OUT - sizeof(struct fuse_out_header), true },
	};

	*header = (struct fuse_in_header){ .len = (uint32_t)sizeof(*header) + size,
					   .opcode = opcode,
					   .unique = ++w->unique,
					   .nodeid = node };
	memcpy(header + 1, args, size);
	return vmm_driver_submit(&w->driver, queue, buffers, 4);
}

static const void *answer(struct world *w, unsigned slot, int *ret_error)
{
	const struct fuse_out_header *header = vmm_at(w->platform, w->out[slot], OUT);

	*ret_error = header->error;
	return header + 1;
}

/* Send and wait. @return the error; the answer by ret */
static int ask(struct world *w, uint32_t opcode, uint64_t node, const void *args, uint32_t size,
	       void *ret, size_t ret_size)
{
	int head = send(w, 7, REQUESTS, opcode, node, args, size), error;
	const void *data;
	uint32_t n = 0;

	assert_int_equal(vmm_driver_wait(&w->driver, REQUESTS, &n), head);
	assert_true(n >= sizeof(struct fuse_out_header));
	data = answer(w, 7, &error);
	if (ret && error == 0)
		memcpy(ret, data, ret_size);
	return error;
}

static void init(struct world *w)
{
	const struct fuse_init_in in = { .major = 7, .minor = 38, .flags = ~0U };
	struct fuse_init_out out;

	assert_int_equal(ask(w, FUSE_INIT, 0, &in, sizeof(in), &out, sizeof(out)), 0);
	assert_int_equal(out.major, 7);
}

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	const struct virtio_fs_options options = { .tag = "work",
						   .threads = 2,
						   .fs = { .guest_uid = 1000 } };

	(void)umask(0);
	(void)snprintf(w->path, sizeof(w->path), "/tmp/venv-test-virtio-fs.XXXXXX");
	if (!mkdtemp(w->path))
		return -1;
	w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	w->platform = vmm_platform_new(64 * MIB, true);
	for (size_t i = 0; i < ARRAY_SIZE(w->in); i++) {
		w->in[i] = vmm_alloc(w->platform, OUT, 8);
		w->out[i] = vmm_alloc(w->platform, OUT, 8);
	}
	assert_int_equal(virtio_fs_new(&w->platform->mem, w->platform->worker, w->dir, -1, &options,
				       &w->device, NULL),
			 0);
	assert_int_equal(virtio_pci_new(w->device, &w->platform->pci, SLOT, &w->platform->irq,
					&w->transport, NULL),
			 0);
	assert_int_equal(vmm_driver_open(&w->driver, w->platform, SLOT), 0);
	assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	virtio_pci_free(w->transport);
	w->device->ops->free(w->device);
	vmm_platform_free(w->platform);
	(void)close(w->dir);
	(void)venv__tree_delete(AT_FDCWD, w->path, NULL);
	free(w);
	return 0;
}

struct created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

static struct created create(struct world *w, const char *name)
{
	struct {
		struct fuse_create_in in;
		char name[16];
	} args = { .in = { .flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644 } };
	struct created created;

	(void)snprintf(args.name, sizeof(args.name), "%s", name);
	assert_int_equal(
		ask(w, FUSE_CREATE, FUSE_ROOT_ID, &args, sizeof(args), &created, sizeof(created)),
		0);
	return created;
}

static void the_tag_is_in_the_configuration(void **state)
{
	struct world *w = *state;
	char tag[VIRTIO_FS_TAG_MAX];

	assert_int_equal(w->driver.device_id, 0x1040 + 26);
	assert_int_equal(w->driver.n_queues, QUEUES);
	for (unsigned i = 0; i < sizeof(tag); i++)
		vmm_read(w->platform, w->driver.config + i, &tag[i], 1);
	assert_string_equal(tag, "work");
	assert_int_equal(vmm_read32(w->platform, w->driver.config + sizeof(tag)), 1);
}

static void bad_tags_are_refused(void **state)
{
	static const char *const tags[] = { "", "1234567890123456789012345678901234567" };
	struct world *w = *state;
	struct virtio_device *device;

	for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
		const struct virtio_fs_options options = { .tag = tags[i] };

		assert_int_equal(virtio_fs_new(&w->platform->mem, w->platform->worker, w->dir, -1,
					       &options, &device, NULL),
				 VENV_ERR_INVALID);
	}
}

static void files_are_written_and_read(void **state)
{
	struct world *w = *state;
	struct {
		struct fuse_write_in in;
		char data[8];
	} write = { .in = { .size = 8 }, .data = "written" };
	struct fuse_read_in read = { .size = 100 };
	struct fuse_write_out out;
	struct created file;
	char data[8];

	init(w);
	file = create(w, "f");
	write.in.fh = read.fh = file.open.fh;
	assert_int_equal(
		ask(w, FUSE_WRITE, file.entry.nodeid, &write, sizeof(write), &out, sizeof(out)), 0);
	assert_int_equal(out.size, 8);
	assert_int_equal(ask(w, FUSE_READ, file.entry.nodeid, &read, sizeof(read), data, 8), 0);
	assert_string_equal(data, "written");
}

static void slow_requests_come_back_too(void **state)
{
	struct world *w = *state;
	struct fuse_fsync_in in = { 0 };
	struct created file;

	init(w);
	file = create(w, "f");
	in.fh = file.open.fh;
	assert_int_equal(ask(w, FUSE_FSYNC, file.entry.nodeid, &in, sizeof(in), NULL, 0), 0);
	in.fh++;
	assert_int_equal(ask(w, FUSE_FSYNC, file.entry.nodeid, &in, sizeof(in), NULL, 0), -EBADF);
}

static void forgetting_has_no_answer(void **state)
{
	struct world *w = *state;
	const struct fuse_forget_in forget = { .nlookup = 1 };
	const struct fuse_getattr_in getattr = { 0 };
	const struct fuse_release_in release = { 0 };
	struct created file;
	uint32_t n = 1;
	int head;

	init(w);
	file = create(w, "f");
	assert_int_equal(
		ask(w, FUSE_RELEASE, file.entry.nodeid, &release, sizeof(release), NULL, 0), 0);
	head = send(w, 0, HIPRIO, FUSE_FORGET, file.entry.nodeid, &forget, sizeof(forget));
	assert_int_equal(vmm_driver_wait(&w->driver, HIPRIO, &n), head);
	assert_int_equal(n, 0);
	assert_int_equal(
		ask(w, FUSE_GETATTR, file.entry.nodeid, &getattr, sizeof(getattr), NULL, 0),
		-ENOENT);
}

/* Chains that are no requests come back with nothing in them, and the device lives on. */
static void what_is_no_request_comes_back(void **state)
{
	struct world *w = *state;
	const struct vmm_buffer chains[][2] = {
		{ { w->in[0], 39, false }, { w->out[0], 100, true } },
		{ { w->in[0], 100, false }, { w->out[0], 15, true } },
		{ { w->in[0], 100, true }, { w->out[0], 15, true } },
		{ { w->in[0], 20, false }, { w->in[0] + 20, 19, false } },
	};

	for (size_t i = 0; i < ARRAY_SIZE(chains); i++)
		for (unsigned queue = 0; queue < QUEUES; queue++)
			assert_int_equal(vmm_driver_call(&w->driver, queue, chains[i], 2), 0);
	init(w);
}

static struct fuse_lk_in lock_of(const struct created *file, uint64_t owner)
{
	return (struct fuse_lk_in){ .fh = file->open.fh,
				    .owner = owner,
				    .lk = { .end = 9, .type = F_WRLCK } };
}

/* More wait for a lock than there are threads, and the rest goes on. */
static int wait_for_locks(struct world *w, struct created *file, int heads[4])
{
	struct fuse_lk_in lock;

	init(w);
	*file = create(w, "f");
	lock = lock_of(file, 1);
	assert_int_equal(ask(w, FUSE_SETLK, file->entry.nodeid, &lock, sizeof(lock), NULL, 0), 0);
	for (unsigned i = 0; i < 4; i++) {
		lock = lock_of(file, 2);
		heads[i] =
			send(w, i, REQUESTS, FUSE_SETLKW, file->entry.nodeid, &lock, sizeof(lock));
	}
	return ask(w, FUSE_STATFS, FUSE_ROOT_ID, "", 0, NULL, 0);
}

static void who_waits_for_a_lock_holds_up_nobody(void **state)
{
	struct world *w = *state;
	struct fuse_flush_in flush = { .lock_owner = 1 };
	struct created file;
	int heads[4], error;
	uint32_t n;

	assert_int_equal(wait_for_locks(w, &file, heads), 0);
	flush.fh = file.open.fh;
	send(w, 6, REQUESTS, FUSE_FLUSH, file.entry.nodeid, &flush, sizeof(flush));
	for (int i = 0; i < 5; i++)
		assert_true(vmm_driver_wait(&w->driver, REQUESTS, &n) >= 0);
	for (unsigned i = 0; i < 4; i++) {
		(void)answer(w, i, &error);
		assert_int_equal(error, 0);
	}
}

static void a_reset_drops_who_waits(void **state)
{
	struct world *w = *state;
	struct created file;
	int heads[4];

	for (int i = 0; i < 3; i++) {
		assert_int_equal(wait_for_locks(w, &file, heads), 0);
		vmm_driver_reset(&w->driver);
		assert_int_equal(vmm_driver_status(&w->driver), 0);
		assert_int_equal(vmm_driver_start(&w->driver, 0), 0);
		assert_int_equal(ask(w, FUSE_STATFS, FUSE_ROOT_ID, "", 0, NULL, 0), -ENOTCONN);
	}
}

/* Before a machine is saved: each request has its answer. */
static void draining_interrupts_who_waits(void **state)
{
	struct world *w = *state;
	struct created file;
	int heads[4], error;
	uint32_t n;

	assert_int_equal(wait_for_locks(w, &file, heads), 0);
	virtio_drain(w->device);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(vmm_driver_poll(&w->driver, REQUESTS, &n) >= 0);
		assert_int_equal(n, sizeof(struct fuse_out_header));
		(void)answer(w, i, &error);
		assert_int_equal(error, -EINTR);
	}
	assert_int_equal(ask(w, FUSE_STATFS, FUSE_ROOT_ID, "", 0, NULL, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_tag_is_in_the_configuration),
		TEST(bad_tags_are_refused),
		TEST(files_are_written_and_read),
		TEST(slow_requests_come_back_too),
		TEST(forgetting_has_no_answer),
		TEST(what_is_no_request_comes_back),
		TEST(who_waits_for_a_lock_holds_up_nobody),
		TEST(a_reset_drops_who_waits),
		TEST(draining_interrupts_who_waits),
	};
	return cmocka_run_group_tests_name("vmm_fs", tests, NULL, NULL);
}
