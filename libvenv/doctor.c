/* SPDX-License-Identifier: Apache-2.0 */
/* What this host can do, and the exact fix for what it cannot. A table of checks. */
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include "provider.h"
#include "value.h"

struct finding {
	const char *status; /* "ok", "warning", "error" */
	char message[256];
	char fix[256];
};

typedef void (*check_fn)(struct venv *ctx, struct finding *ret);

static void check_kernel(struct venv *ctx, struct finding *ret)
{
	struct utsname name;
	unsigned major = 0, minor = 0;
	char *end;

	(void)ctx;
	(void)uname(&name);
	major = (unsigned)strtoul(name.release, &end, 10);
	minor = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
	(void)snprintf(ret->message, sizeof(ret->message), "Linux %.64s", name.release);
	if (major > 5 || (major == 5 && minor >= 12))
		return;
	ret->status = "error";
	(void)snprintf(ret->fix, sizeof(ret->fix),
		       "venv needs Linux 5.12 or newer: upgrade the kernel");
}

static void check_ids(struct venv *ctx, struct finding *ret)
{
	const struct idmap *map;
	_cleanup_error_ venv_error *error = NULL;

	if (venv__context_map(ctx, &map, &error) == 0) {
		(void)snprintf(ret->message, sizeof(ret->message),
			       "ids of machines are %u to %u here", map->sub_uid,
			       map->sub_uid + IDMAP_COUNT - 1);
		return;
	}
	ret->status = "error";
	(void)snprintf(ret->message, sizeof(ret->message), "%s", venv_error_message(error));
	(void)snprintf(ret->fix, sizeof(ret->fix), "%s",
		       venv_error_hint(error) ? venv_error_hint(error) : "");
}

static void check_data(struct venv *ctx, struct finding *ret)
{
	_cleanup_error_ venv_error *error = NULL;
	int fd = venv__context_data(ctx, &error);
	struct statvfs space;

	if (fd < 0 || fstatvfs(fd, &space) < 0) {
		ret->status = "error";
		(void)snprintf(ret->message, sizeof(ret->message), "%s", venv_error_message(error));
		(void)snprintf(ret->fix, sizeof(ret->fix),
			       "set XDG_DATA_HOME to a writable directory");
		return;
	}
	(void)snprintf(ret->message, sizeof(ret->message), "%s has %llu MiB free", ctx->data_dir,
		       (unsigned long long)space.f_bavail * space.f_frsize / (1024 * 1024));
	if (space.f_bavail * space.f_frsize > 512ULL * 1024 * 1024)
		return;
	ret->status = "warning";
	(void)snprintf(ret->fix, sizeof(ret->fix), "free some space: 'venv box prune'");
}

static void check_programs(struct venv *ctx, struct finding *ret)
{
	_cleanup_close_ int fd = open(ctx->libexec_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	static const char *const names[] = { "venv-keeper", "venv-enter",  "venv-init",
					     "venv-sess",   "venv-netd",   "venv-netns",
					     "venv-uplink", "venv-unpack", "venv-ssh" };

	(void)snprintf(ret->message, sizeof(ret->message), "helper programs in %s",
		       ctx->libexec_dir);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (fd >= 0 && faccessat(fd, names[i], X_OK, 0) == 0)
			continue;
		ret->status = "error";
		(void)snprintf(ret->message, sizeof(ret->message), "%s is missing in %s", names[i],
			       ctx->libexec_dir);
		(void)snprintf(ret->fix, sizeof(ret->fix),
			       "install venv again, or set VENV_LIBEXEC");
	}
}

static const struct {
	const char *name;
	check_fn check;
} checks[] = {
	{ "kernel", check_kernel },
	{ "programs", check_programs },
	{ "data", check_data },
	{ "ids", check_ids },
};

static json_t *finding_json(const char *name, const struct finding *finding)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "check", name, "status", finding->status,
				 "message", finding->message);

	if (json && *finding->fix)
		(void)venv__json_set_str(json, "fix", finding->fix);
	return json;
}

static void add_provider(struct venv *ctx, const struct provider *provider, json_t *list)
{
	_cleanup_json_ json_t *found = NULL;
	json_t *entry;
	size_t i;

	if (!provider->doctor || provider->doctor(ctx, &found, NULL) < 0)
		return;
	json_array_foreach(found, i, entry)
	{
		(void)venv__json_set_str(entry, "provider", provider->name);
		if (!json_object_get(entry, "status"))
			(void)venv__json_set_str(entry, "status",
						 venv__json_bool(entry, "ok", true) ? "ok"
										    : "error");
		(void)json_array_append(list, entry);
	}
}

int venv_doctor(venv *ctx, venv_value **ret, venv_error **err)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_SIZE(checks); i++) {
		struct finding finding = { .status = "ok" };

		checks[i].check(ctx, &finding);
		(void)json_array_append_new(list, finding_json(checks[i].name, &finding));
	}
	for (const struct provider *const *p = venv__providers; list && *p; p++)
		add_provider(ctx, *p, list);
	return venv__answer(list, ret, err);
}
