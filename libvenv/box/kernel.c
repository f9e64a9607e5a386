/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels: boxes whose one layer holds vmlinux or vmlinuz, modules/, modules.order, modules.later and
 * release, as boxes/kernel-debian-12/build writes them.
 */
#include <string.h>

#include "box.h"

static const char name[] = "kernel/debian-12";

static int open_or_build(struct venv *ctx, const char *machine, struct venv_op *op, struct box *ret,
			 venv_error **err)
{
	_cleanup_error_ venv_error *error = NULL;
	int r = venv__box_open(ctx, name, NULL, NULL, ret, &error);

	if (r != VENV_ERR_NOT_FOUND || !venv__box_has_recipe(ctx, name))
		return r < 0 ? venv__error_take(take_ptr(error), err) : 0;
	venv__op_notice(op, machine,
			"a virtual machine of this box takes the kernel '%s', which is not in the "
			"store yet: building it from its recipe",
			name);
	return venv__box_build(ctx, name, op, ret, err);
}

int venv__box_kernel(struct venv *ctx, const char *machine, struct venv_op *op, char **ret_path,
		     venv_error **err)
{
	_cleanup_box_ struct box box = { 0 };
	int r = open_or_build(ctx, machine, op, &box, err);

	if (r < 0)
		return venv__wrap(r, err, "kernel '%s'", name);
	if (box.kind != BOX_KERNEL || !box.layers || !box.layers[0])
		return venv__hint(venv__fail(err, VENV_ERR_BOX, "box '%s' is no kernel", name), err,
				  "remove it with 'venv box remove %s'; the next 'venv up' builds "
				  "it",
				  name);
	*ret_path = strdup(box.layers[0]);
	return *ret_path ? 0 : venv__fail_nomem(err);
}
