/* SPDX-License-Identifier: Apache-2.0 */
#include "context.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#include "options.h"
#include "util/file.h"

/* Guards what a context finds out on first use; contexts are few, so one lock serves all. */
static pthread_mutex_t first_use = PTHREAD_MUTEX_INITIALIZER;

static char *data_directory(const char *given)
{
	const char *base = getenv("XDG_DATA_HOME");

	if (given)
		return venv__path_clean(given);
	if (base && *base == '/')
		return venv__path_join(base, "venv");
	return venv__path_home("~/.local/share/venv");
}

static char *from_environment(const char *given, const char *variable, const char *otherwise)
{
	const char *value = getenv(variable);

	return strdup(given ? given : value && *value ? value : otherwise);
}

int venv_new(const venv_options *options, venv **ret, venv_error **err)
{
	venv_options o = VENV_OPTIONS_INIT;
	venv *ctx;
	int r = venv__options(&o, options, sizeof(o), err);

	if (r < 0)
		return r;
	ctx = calloc(1, sizeof(*ctx));
	if (!ctx)
		return venv__fail_nomem(err);
	ctx->data_fd = -1;
	ctx->log_level = VENV_LOG_WARNING;
	ctx->data_dir = data_directory(o.data_dir);
	ctx->libexec_dir = from_environment(o.libexec_dir, "VENV_LIBEXEC", VENV_LIBEXECDIR);
	ctx->box_dir = from_environment(NULL, "VENV_BOXES", VENV_BOXDIR);
	if (!ctx->data_dir || !ctx->libexec_dir || !ctx->box_dir) {
		venv_free(ctx);
		return venv__fail_nomem(err);
	}
	*ret = ctx;
	return 0;
}

void venv_free(venv *ctx)
{
	if (!ctx)
		return;
	if (ctx->data_fd >= 0)
		(void)close(ctx->data_fd);
	free(ctx->data_dir);
	free(ctx->libexec_dir);
	free(ctx->box_dir);
	free(ctx);
}

void venv_set_log(venv *ctx, venv_log_fn fn, void *user, int level)
{
	ctx->log = fn;
	ctx->log_user = user;
	ctx->log_level = level;
}

const char *venv_version(void)
{
	return VENV_VERSION_STRING;
}

int venv__context_data(struct venv *ctx, venv_error **err)
{
	int r = 0;

	(void)pthread_mutex_lock(&first_use);
	if (ctx->data_fd < 0)
		r = venv__dir_make(ctx->data_dir, &ctx->data_fd, err);
	(void)pthread_mutex_unlock(&first_use);
	if (r < 0)
		return venv__hint(r, err,
				  "venv keeps its machines there: make it writable, or set "
				  "XDG_DATA_HOME to a directory that is");
	return ctx->data_fd;
}

int venv__context_map(struct venv *ctx, const struct idmap **ret, venv_error **err)
{
	int r = 0;

	(void)pthread_mutex_lock(&first_use);
	if (!ctx->map_loaded) {
		r = venv__idmap_load(&ctx->map, err);
		ctx->map_loaded = r == 0;
	}
	(void)pthread_mutex_unlock(&first_use);
	*ret = &ctx->map;
	return r;
}

char *venv__context_program(const struct venv *ctx, const char *name)
{
	return venv__path_join(ctx->libexec_dir, name);
}

void venv__log(struct venv *ctx, int level, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;
	int n;

	if (!ctx || !ctx->log || level > ctx->log_level)
		return;
	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	if (n < 0) {
		text = NULL;
		return;
	}
	ctx->log(ctx->log_user, level, text);
}
