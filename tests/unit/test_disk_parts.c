/* SPDX-License-Identifier: Apache-2.0 */
/* What qcow2 is made of: buffers, sets, caches of slices, refcounts of all widths. */
#include "tests/unit/test.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libvenv/disk/qcow2.h"

static void buffers_are_worked_off(void **state)
{
	char a[] = { 97, 98, 99 }, b[] = { 100 }, c[] = { 101, 102, 103, 104 };
	const struct iovec iov[] = { { a, 3 }, { NULL, 0 }, { b, 1 }, { c, 4 } };
	struct vec vec = { .iov = iov, .n = 4 };
	struct iovec piece[4];
	uint64_t n;

	(void)state;
	assert_int_equal(venv__iov_length(iov, 4), 8);
	assert_int_equal(venv__vec_take(&vec, 2, piece, 4, &n), 1);
	assert_int_equal(n, 2);
	assert_int_equal(venv__vec_take(&vec, 100, piece, 2, &n), 2);
	assert_int_equal(n, 2);
	assert_memory_equal(piece[0].iov_base, "c", 1);
	assert_memory_equal(piece[1].iov_base, "d", 1);
	venv__vec_zero(&vec, 1);
	venv__vec_put(&vec, "xy", 2);
	assert_memory_equal(c, "\0xyh", 4);
	assert_int_equal(venv__vec_take(&vec, 100, piece, 4, &n), 1);
	assert_int_equal(venv__vec_take(&vec, 100, piece, 4, &n), 0);
}

static void files_end_in_zeroes(void **state)
{
	_cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);
	char a[] = { 1, 2, 3, 4 }, b[] = { 5, 6, 7, 8 };
	const struct iovec iov[] = { { a, 4 }, { b, 4 } };
	struct vec vec = { .iov = iov, .n = 2 }, again = vec;

	(void)state;
	assert_int_equal(venv__pwrite_all(fd, "hello", 5, 0), 0);
	assert_int_equal(venv__vec_pread(&vec, fd, 0, 8), 0);
	assert_memory_equal(a, "hell", 4);
	assert_memory_equal(b, "o\0\0\0", 4);
	assert_int_equal(venv__vec_pread(&again, fd, 100, 8), 0);
	assert_memory_equal(a, "\0\0\0\0", 4);
	assert_int_equal(venv__vec_pread(&again, fd, 0, 1), -EINVAL);
	assert_int_equal(venv__pwrite_zeroes(fd, 100000, 3), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 100003);
	assert_int_equal(venv__zero_range(fd, 1, 1, false), 0);
	assert_int_equal(venv__pread_all(fd, a, 4, 0), 0);
	assert_memory_equal(a, "h\0l\0", 4);
	assert_int_equal(venv__pread_all(-1, a, 4, 0), -EBADF);
}

static void sets_keep_what_collides(void **state)
{
	struct set set = { 0 };

	(void)state;
	assert_false(venv__set_has(&set, 0));
	venv__set_remove(&set, 0);
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(venv__set_add(&set, i * i * 977), 0);
	assert_int_equal(venv__set_add(&set, 977), -EEXIST);
	for (uint64_t i = 0; i < 5000; i += 2)
		venv__set_remove(&set, i * i * 977);
	for (uint64_t i = 0; i < 5000; i++)
		assert_int_equal(venv__set_has(&set, i * i * 977), i % 2);
	assert_int_equal(set.n, 2500);
	venv__set_done(&set);
}

static void slices_are_bounded(void **state)
{
	_cleanup_close_ int fd = memfd_create("test", MFD_CLOEXEC);
	struct slices slices;
	struct slice *slice;

	(void)state;
	assert_int_equal(venv__slices_init(&slices, fd, 512, 4), 0);
	for (uint64_t i = 0; i < 4; i++) {
		assert_int_equal(venv__slices_get(&slices, i * 4 * 512 + 7, &slice), 0);
		assert_int_equal(slice->offset, i * 4 * 512);
		memset(slice->data, (int)i + 1, 512);
		venv__slices_touch(&slices, slice);
		venv__slices_touch(&slices, slice);
	}
	assert_int_equal(slices.n_dirty, 4);
	/* all changed: nothing can go */
	assert_int_equal(venv__slices_get(&slices, 100 * 512, &slice), -EAGAIN);
	assert_int_equal(venv__slices_write(&slices), 0);
	assert_int_equal(slices.n_dirty, 0);
	for (uint64_t i = 100; i < 120; i++)
		assert_int_equal(venv__slices_get(&slices, i * 512, &slice), 0);
	assert_int_equal(venv__slices_get(&slices, 2 * 4 * 512, &slice), 0);
	assert_int_equal(((char *)slice->data)[511], 3);
	venv__slices_touch(&slices, slice);
	venv__slices_forget(&slices, 2 * 4 * 512, 512);
	assert_int_equal(slices.n_dirty, 0);
	venv__slices_done(&slices);
}

static void refcounts_of_all_widths(void **state)
{
	uint8_t block[64];

	(void)state;
	for (unsigned order = 0; order <= 6; order++) {
		uint64_t max = order == 6 ? UINT64_MAX : (1ULL << (1U << order)) - 1;
		uint64_t n = sizeof(block) * 8 >> order;

		memset(block, 0, sizeof(block));
		for (uint64_t i = 0; i < n; i += 2)
			venv__ref_set(block, order, i, max);
		for (uint64_t i = 0; i < n; i++)
			assert_int_equal(venv__ref_get(block, order, i), i % 2 ? 0 : max);
		venv__ref_set(block, order, 0, 0);
		assert_int_equal(venv__ref_get(block, order, 0), 0);
		assert_int_equal(venv__ref_get(block, order, 2), max);
	}
	/* the lower bits of a byte come first */
	memset(block, 0, sizeof(block));
	venv__ref_set(block, 0, 1, 1);
	assert_int_equal(block[0], 2);
	venv__ref_set(block, 1, 3, 2);
	assert_int_equal(block[0], 0x82);
	venv__ref_set(block, 4, 1, 0x1234);
	assert_int_equal(block[2], 0x12);
}

static void refcounts_count_themselves(void **state)
{
	static const struct {
		unsigned bits, order;
		uint64_t start, reserve;
	} cases[] = { { 9, 4, 1, 0 },       { 9, 6, 255, 0 },     { 9, 0, 4095, 5000 },
		      { 16, 4, 3, 0 },      { 9, 6, 1000, 1000 }, { 21, 6, 70000, 0 },
		      { 9, 4, 256 * 64, 0 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct refs_plan plan = { .cluster_bits = cases[i].bits,
					  .ref_order = cases[i].order,
					  .start = cases[i].start };
		uint64_t per_block = 1ULL << (plan.cluster_bits + 3 - plan.ref_order);
		uint64_t per_cluster = 1ULL << (plan.cluster_bits - 3);

		venv__refs_plan(&plan, cases[i].reserve);
		assert_int_equal(plan.end, plan.start + plan.n_blocks + plan.table_clusters);
		assert_true(plan.n_blocks * per_block >= plan.end);
		assert_true(plan.table_clusters * per_cluster >= plan.n_blocks);
		assert_true(plan.table_clusters * per_cluster * per_block >= cases[i].reserve);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_are_worked_off),
		cmocka_unit_test(files_end_in_zeroes),
		cmocka_unit_test(sets_keep_what_collides),
		cmocka_unit_test(slices_are_bounded),
		cmocka_unit_test(refcounts_of_all_widths),
		cmocka_unit_test(refcounts_count_themselves),
	};
	return cmocka_run_group_tests_name("disk_parts", tests, NULL, NULL);
}
