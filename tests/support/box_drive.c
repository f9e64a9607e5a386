/* SPDX-License-Identifier: Apache-2.0 */
/* The box store without the rest of the library: what tests/support/box_test.py drives. */
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "box/box.h"

struct venv_op {
	int unused;
};

/* ---- What core gives ---------------------------------------------------------------------- */

int venv__machines_using(struct venv *ctx, const char *digest, char ***ret, venv_error **err)
{
	const char *used = getenv("BOX_TEST_USED");

	(void)ctx;
	(void)err;
	*ret = NULL;
	return used && !strcmp(digest, used) ? venv__strv_add(ret, "project/web") : 0;
}

int venv__machines_digests(struct venv *ctx, char ***ret, venv_error **err)
{
	const char *used = getenv("BOX_TEST_USED");

	(void)ctx;
	(void)err;
	*ret = NULL;
	return used ? venv__strv_add(ret, used) : 0;
}

static void _printf_(2, 0) say(const char *kind, const char *format, va_list args)
{
	(void)fprintf(stderr, "%s: ", kind);
	(void)vfprintf(stderr, format, args);
	(void)fputc('\n', stderr);
}

void venv__op_begin(struct venv_op *op, const char *machine, const char *phase, const char *format,
		    ...)
{
	va_list args;

	(void)op;
	(void)machine;
	va_start(args, format);
	say(phase, format, args);
	va_end(args);
}

void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
{
	va_list args;

	(void)op;
	(void)machine;
	va_start(args, format);
	say("notice", format, args);
	va_end(args);
}

void venv__op_warning(struct venv_op *op, const char *machine, const char *format, ...)
{
	va_list args;

	(void)op;
	(void)machine;
	va_start(args, format);
	say("warning", format, args);
	va_end(args);
}

void venv__op_end(struct venv_op *op, const char *machine, const char *phase)
{
	(void)op;
	(void)machine;
	(void)phase;
}

void venv__op_progress(struct venv_op *op, const char *machine, const char *phase, uint64_t done,
		       uint64_t total)
{
	(void)op;
	(void)machine;
	(void)phase;
	(void)done;
	(void)total;
}

void venv__op_output(struct venv_op *op, const char *machine, const char *phase, int stream,
		     const char *data, size_t length)
{
	(void)op;
	(void)machine;
	(void)phase;
	(void)stream;
	(void)fwrite(data, 1, length, stderr);
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	(void)op;
	(void)err;
	return 0;
}

int venv__op_cancel_fd(const struct venv_op *op)
{
	(void)op;
	return -1;
}

/* ---- Commands ----------------------------------------------------------------------------- */

static int made(int r, struct box *box, json_t **ret)
{
	if (r >= 0)
		*ret = venv__box_to_json(box);
	venv__box_done(box);
	return r;
}

static int make_disk(struct venv *ctx, char **argv, json_t **ret, venv_error **err)
{
	_cleanup_box_ struct box box = { 0 };
	_cleanup_free_ char *path = NULL;
	int r = venv__box_open(ctx, argv[2], NULL, NULL, &box, err);

	if (r == 0)
		r = venv__box_make_disk(ctx, &box, argv[3] ? strtoull(argv[3], NULL, 10) : 0, NULL,
					&path, err);
	if (r == 0)
		*ret = json_pack("{s:s}", "path", path);
	return r;
}

static int run_box(struct venv *ctx, char **argv, json_t **ret, venv_error **err)
{
	struct box box = { 0 };

	if (!strcmp(argv[1], "add"))
		return made(venv__box_add(ctx, argv[3], argv[2], NULL, &box, err), &box, ret);
	if (!strcmp(argv[1], "build"))
		return made(venv__box_build(ctx, argv[2], NULL, &box, err), &box, ret);
	if (!strcmp(argv[1], "open"))
		return made(venv__box_open(ctx, argv[2], argv[3], NULL, &box, err), &box, ret);
	if (!strcmp(argv[1], "mkdisk"))
		return make_disk(ctx, argv, ret, err);
	if (!strcmp(argv[1], "info"))
		return venv__box_info(ctx, argv[2], ret, err);
	return venv__box_remove(ctx, argv[2], err);
}

static int run_tree(struct venv *ctx, char **argv, venv_error **err)
{
	_cleanup_close_ int dir = -1;
	int r = venv__dir_make(argv[2], &dir, err);

	if (r < 0)
		return r;
	if (!strcmp(argv[1], "rmtree"))
		return venv__store_remove_tree(ctx, dir, argv[3], err);
	return venv__store_make_dir(ctx, dir, argv[3], 1000, 100, 02750, err);
}

static int run(struct venv *ctx, int argc, char **argv, json_t **ret, venv_error **err)
{
	if (argc > 1 && !strcmp(argv[1], "list"))
		return venv__box_list(ctx, ret, err);
	if (argc > 1 && !strcmp(argv[1], "prune"))
		return venv__box_prune(ctx, ret, err);
	if (argc > 3 && (!strcmp(argv[1], "rmtree") || !strcmp(argv[1], "mkdir")))
		return run_tree(ctx, argv, err);
	if (argc > 2)
		return run_box(ctx, argv, ret, err);
	return venv__fail(err, VENV_ERR_INVALID, "unknown command");
}

int main(int argc, char **argv)
{
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_free_ char *text = NULL;
	venv *ctx;
	int r = venv_new(NULL, &ctx, &err);

	if (r == 0) {
		r = run(ctx, argc, argv, &answer, &err);
		venv_free(ctx);
	}
	if (r < 0) {
		answer = json_pack("{s:s, s:s, s:s}", "code", venv_code_name(r), "error",
				   venv_error_message(err), "hint",
				   venv_error_hint(err) ? venv_error_hint(err) : "");
		if (!answer) /* a message that is no UTF-8 */
			(void)fprintf(stderr, "error: %s\n", venv_error_message(err));
	}
	text = answer ? json_dumps(answer, JSON_INDENT(1)) : strdup("{}");
	(void)puts(text ? text : "{}");
	return r < 0;
}
