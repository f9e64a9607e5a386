/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel of a virtual machine made of a rootfs box: found, built, or refused. */
#include "tests/unit/test.h"

#include <string.h>

#include "box/box.h"

/* The store; the function that is tested has no other way to it. */
static struct {
	int open, build; /* what they return */
	bool recipe;
	struct box box;
	unsigned builds, notices;
} store;

static int give(int r, struct box *ret, venv_error **err)
{
	if (r < 0)
		return venv__fail(err, r, "no such box");
	*ret = store.box;
	ret->layers = venv__strv_copy(store.box.layers);
	return 0;
}

int venv__box_open(struct venv *ctx, const char *name, const char *constraint,
		   const char *architecture, struct box *ret, venv_error **err)
{
	(void)ctx;
	(void)constraint;
	(void)architecture;
	assert_string_equal(name, "kernel/debian-12");
	return give(store.open, ret, err);
}

bool venv__box_has_recipe(struct venv *ctx, const char *name)
{
	(void)ctx;
	(void)name;
	return store.recipe;
}

int venv__box_build(struct venv *ctx, const char *name, struct venv_op *op, struct box *ret,
		    venv_error **err)
{
	(void)ctx;
	(void)name;
	(void)op;
	store.builds++;
	return give(store.build, ret, err);
}

void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
{
	(void)op;
	(void)format;
	assert_string_equal(machine, "web");
	store.notices++;
}

void venv__box_done(struct box *box)
{
	venv__strv_free(box->layers);
}

static void finds_builds_or_refuses(void **state)
{
	static char path[] = "/data/boxes/layers/aa/fs", *layers[] = { path, NULL },
		    *none[] = { NULL };
	static const struct {
		int open, build;
		bool recipe;
		enum box_kind kind;
		char **layers;
		int expected;
		unsigned builds;
		const char *message;
	} cases[] = {
		{ 0, 0, false, BOX_KERNEL, layers, 0, 0, NULL },
		{ VENV_ERR_NOT_FOUND, 0, true, BOX_KERNEL, layers, 0, 1, NULL },
		{ VENV_ERR_NOT_FOUND, 0, false, BOX_KERNEL, layers, VENV_ERR_NOT_FOUND, 0,
		  "kernel 'kernel/debian-12': no such box" },
		{ VENV_ERR_NOT_FOUND, VENV_ERR_COMMAND, true, BOX_KERNEL, layers, VENV_ERR_COMMAND,
		  1, "kernel 'kernel/debian-12': no such box" },
		{ VENV_ERR_CORRUPT, 0, true, BOX_KERNEL, layers, VENV_ERR_CORRUPT, 0,
		  "kernel 'kernel/debian-12': no such box" },
		/* who added something else by that name */
		{ 0, 0, true, BOX_ROOTFS, layers, VENV_ERR_BOX, 0,
		  "box 'kernel/debian-12' is no kernel" },
		{ 0, 0, true, BOX_DISK, NULL, VENV_ERR_BOX, 0,
		  "box 'kernel/debian-12' is no kernel" },
		{ 0, 0, true, BOX_KERNEL, NULL, VENV_ERR_BOX, 0,
		  "box 'kernel/debian-12' is no kernel" },
		{ 0, 0, true, BOX_KERNEL, none, VENV_ERR_BOX, 0,
		  "box 'kernel/debian-12' is no kernel" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_error_ venv_error *error = NULL;
		_cleanup_free_ char *got = NULL;

		memset(&store, 0, sizeof(store));
		store.open = cases[i].open;
		store.build = cases[i].build;
		store.recipe = cases[i].recipe;
		store.box = (struct box){ .kind = cases[i].kind, .layers = cases[i].layers };
		assert_int_equal(venv__box_kernel(NULL, "web", NULL, &got, &error),
				 cases[i].expected);
		assert_int_equal(store.builds, cases[i].builds);
		assert_int_equal(store.notices, cases[i].builds);
		if (cases[i].expected == 0)
			assert_string_equal(got, path);
		else
			assert_string_equal(venv_error_message(error), cases[i].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_builds_or_refuses),
	};

	return cmocka_run_group_tests_name("box_kernel", tests, NULL, NULL);
}
