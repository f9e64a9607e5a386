/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recipes: directories with a recipe.json and either a prebuilt archive or an executable `build` that
 * writes one to the path given.
 *
 *   { "name": "debian/12", "aliases": ["debian-12"], "version": "12", "description": "…",
 *     "needs": [{"tool": "mmdebstrap", "package": "mmdebstrap"}], "prebuilt": "rootfs.tar",
 *     "kind": "kernel" }       what it makes is a kernel (kernel.c); else a root file system
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "../util/process.h"
#include "../util/sys.h"
#include "store.h"

enum { RECIPE_MAX = 65536, TAIL_LINES_MAX = 4096 };

struct recipe {
	char *dir;
	json_t *json;
	char **aliases;
	const char *name, *version;
};

static void recipe_done(struct recipe *recipe)
{
	free(recipe->dir);
	json_decref(recipe->json);
	venv__strv_free(recipe->aliases);
}
#define _cleanup_recipe_ _cleanup_(recipe_done)

/* ---- Find --------------------------------------------------------------------------------- */

static int bad_recipe(const char *dir, const char *why, venv_error **err)
{
	return venv__fail(err, VENV_ERR_INVALID, "the recipe '%s/recipe.json' %s", dir, why);
}

static int read_recipe(const char *dir, struct recipe *ret, venv_error **err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_recipe_ struct recipe recipe = { .dir = strdup(dir) };
	_cleanup_free_ char *text = NULL;
	size_t length;
	int r;

	if (fd < 0 || !recipe.dir)
		return venv__fail_errno(err, errno, "cannot open the recipe '%s'", dir);
	r = venv__file_read(fd, "recipe.json", RECIPE_MAX, &text, &length, NULL);
	if (r < 0)
		return venv__fail(err, r, "the directory '%s' has no readable recipe.json", dir);
	r = venv__json_parse(text, length, &recipe.json, err);
	if (r < 0)
		return venv__wrap(r, err, "the recipe '%s/recipe.json'", dir);
	recipe.name = venv__json_str(recipe.json, "name");
	recipe.version = venv__json_str(recipe.json, "version");
	recipe.aliases = venv__json_strv(recipe.json, "aliases");
	if (!recipe.name || !venv__name_valid(recipe.name))
		return bad_recipe(dir, "has no valid \"name\"", err);
	if (recipe.version && !venv__version_valid(recipe.version))
		return bad_recipe(dir, "has no valid \"version\"", err);
	for (char **alias = recipe.aliases; alias && *alias; alias++)
		if (!venv__name_valid(*alias))
			return bad_recipe(dir, "has an alias that is no name", err);
	*ret = recipe;
	memset(&recipe, 0, sizeof(recipe));
	return 0;
}

typedef bool (*recipe_fn)(struct recipe *recipe, void *user);

/* Call for each recipe of the box directory until one is taken: 1, 0: none was, or VENV_ERR_NOMEM. */
static int each_recipe(struct venv *ctx, recipe_fn fn, void *user)
{
	_cleanup_close_ int fd = open(ctx->box_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_strv_ char **names = NULL;
	int r = fd < 0 ? 0 : venv__dir_list(fd, &names, NULL);

	if (fd < 0 || r < 0)
		return r == VENV_ERR_NOMEM ? r : 0;
	for (char **name = names; *name && r != 1 && r != VENV_ERR_NOMEM; name++) {
		_cleanup_free_ char *dir = venv__path_join(ctx->box_dir, *name);
		_cleanup_recipe_ struct recipe recipe = { 0 };
		struct stat st;

		if (!dir)
			return VENV_ERR_NOMEM;
		if (**name == '.' || stat(dir, &st) < 0 || !S_ISDIR(st.st_mode))
			continue;
		r = read_recipe(dir, &recipe, NULL);
		if (r == 0)
			r = fn(&recipe, user);
	}
	return r == 1 || r == VENV_ERR_NOMEM ? r : 0;
}

struct wanted {
	const char *name;
	struct recipe recipe;
};

static bool take_wanted(struct recipe *recipe, void *user)
{
	struct wanted *wanted = user;

	if (strcmp(recipe->name, wanted->name) != 0 &&
	    !venv__strv_has(recipe->aliases, wanted->name))
		return false;
	wanted->recipe = *recipe;
	*recipe = (struct recipe){ 0 };
	return true;
}

bool venv__box_has_recipe(struct venv *ctx, const char *name)
{
	_cleanup_free_ char *plain = strndup(name, strcspn(name, "@"));
	struct wanted wanted = { .name = plain };
	bool found = plain && each_recipe(ctx, take_wanted, &wanted) > 0;

	recipe_done(&wanted.recipe);
	return found;
}

int venv__box_recipe_fits(struct venv *ctx, const char *reference, const char *constraint,
			  venv_error **err)
{
	const char *at = strchr(reference, '@');
	_cleanup_free_ char *name =
		strndup(reference, at ? (size_t)(at - reference) : strlen(reference));
	_cleanup_recipe_ struct recipe recipe = { 0 };
	struct wanted wanted = { .name = name };
	int r = 1;

	if (!name)
		return venv__fail_nomem(err);
	if (!each_recipe(ctx, take_wanted, &wanted))
		return 0;
	recipe = wanted.recipe;
	if (recipe.version && at)
		r = venv__version_compare(recipe.version, at + 1) == 0;
	if (recipe.version && constraint && r == 1)
		r = venv__version_matches(recipe.version, constraint, err);
	if (r)
		return r;
	r = venv__fail(err, VENV_ERR_NOT_FOUND,
		       "box '%s' has no version '%s' in the store, and its recipe makes %s", name,
		       at ? at + 1 : constraint, recipe.version);
	return venv__hint(r, err,
			  "ask for that version, or add the one that is missing: 'venv box "
			  "add --name %s@VERSION FILE'",
			  name);
}

static bool take_name(struct recipe *recipe, void *user)
{
	char ***list = user;

	(void)venv__strv_add(list, recipe->name);
	return false;
}

char **venv__recipe_names(struct venv *ctx)
{
	char **list = NULL;

	(void)each_recipe(ctx, take_name, &list);
	return list;
}

static bool take_facts(struct recipe *recipe, void *user)
{
	json_t *facts = venv__json_pack("{s:s, s:s*, s:s*}", "name", recipe->name, "version",
					recipe->version, "description",
					venv__json_str(recipe->json, "description"));
	json_t **list = user;

	if (json_array_append_new(*list, facts) == 0)
		return false;
	json_decref(*list);
	*list = NULL;
	return true;
}

json_t *venv__recipe_list(struct venv *ctx)
{
	json_t *list = json_array();

	if (list && each_recipe(ctx, take_facts, &list) < 0) {
		json_decref(list);
		list = NULL;
	}
	return list;
}

static int find_recipe(struct venv *ctx, const char *reference, struct recipe *ret,
		       venv_error **err)
{
	_cleanup_free_ char *name = strndup(reference, strcspn(reference, "@"));
	_cleanup_free_ char *path = venv__path_home(reference), *absolute = NULL;
	_cleanup_strv_ char **known = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	struct wanted wanted = { .name = name };
	int r;

	if (!name || !path)
		return venv__fail_nomem(err);
	r = each_recipe(ctx, take_wanted, &wanted);
	if (r < 0)
		return venv__fail_nomem(err);
	if (r > 0) {
		*ret = wanted.recipe;
		return 0;
	}
	absolute = realpath(path, NULL);
	if (absolute && (strchr(reference, '/') || *reference == '.'))
		return read_recipe(absolute, ret, err);
	known = venv__recipe_names(ctx);
	for (char **one = known; one && *one; one++)
		venv__buf_printf(&text, "%s'%s'", one == known ? "" : ", ", *one);
	r = venv__fail(err, VENV_ERR_NOT_FOUND, "there is no recipe '%s'", reference);
	return venv__hint(r, err, "take one of %s, or give a directory with a recipe.json",
			  text.length ? text.data : "those that you install");
}

/* ---- Run ---------------------------------------------------------------------------------- */

static const char path_of_build[] =
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static bool tool_there(const char *tool)
{
	const char *path = path_of_build + 5;

	while (*path) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *file = NULL;

		if (asprintf(&file, "%.*s/%s", (int)length, path, tool) < 0)
			return false;
		if (access(file, X_OK) == 0)
			return true;
		path += length + (path[length] == ':');
	}
	return false;
}

static int check_needs(const struct recipe *recipe, venv_error **err)
{
	const json_t *needs = json_object_get(recipe->json, "needs");
	_cleanup_buf_ struct buf tools = { 0 }, packages = { 0 };
	int r;

	for (size_t i = 0; i < json_array_size(needs); i++) {
		const json_t *need = json_array_get(needs, i);
		const char *tool = venv__json_str(need, "tool"),
			   *package = venv__json_str(need, "package");

		if (!tool || tool_there(tool))
			continue;
		venv__buf_printf(&tools, "%s'%s'", tools.length ? ", " : "", tool);
		venv__buf_printf(&packages, " %s", package ? package : tool);
	}
	if (!tools.length)
		return 0;
	r = venv__fail(err, VENV_ERR_HOST, "building box '%s' needs %s, which this host lacks",
		       recipe->name, tools.data);
	return venv__hint(r, err, "install what is missing: 'sudo apt install%s'", packages.data);
}

/* What the build gets of our environment: nothing that changes what comes out, but the proxies. */
static char **build_environment(const char *temporary)
{
	static const char *const passed[] = {
		"http_proxy",       "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
		"NO_PROXY",         "HOME",        "USER",     "LOGNAME",    "APT_CONFIG",
		"SOURCE_DATE_EPOCH"
	};
	char **list = NULL;
	int r = venv__strv_add(&list, path_of_build);

	if (r == 0)
		r = venv__strv_add(&list, "LC_ALL=C.UTF-8");
	if (r == 0)
		r = venv__strv_addf(&list, "TMPDIR=%s", temporary);
	if (r == 0)
		r = venv__strv_addf(&list, "VENV_ARCHITECTURE=%s", venv__architecture_host());
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(passed); i++)
		if (getenv(passed[i]))
			r = venv__strv_addf(&list, "%s=%s", passed[i], getenv(passed[i]));
	if (r == 0)
		return list;
	venv__strv_free(list);
	return NULL;
}

/* Keep the last of the output for the error. */
static void keep_tail(struct buf *tail, const char *data, size_t length)
{
	venv__buf_add(tail, data, length);
	if (tail->failed || tail->length <= TAIL_LINES_MAX)
		return;
	memmove(tail->data, tail->data + tail->length - TAIL_LINES_MAX / 2, TAIL_LINES_MAX / 2);
	tail->length = TAIL_LINES_MAX / 2;
	tail->data[tail->length] = '\0';
}

static int pass_output(int fd, struct venv_op *op, struct buf *tail, venv_error **err)
{
	struct pollfd wait[2] = { { .fd = fd, .events = POLLIN },
				  { .fd = venv__op_cancel_fd(op), .events = POLLIN } };
	char chunk[4096];
	ssize_t n;
	int r;

	for (;;) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return venv__fail_errno(err, errno, "cannot wait for the build");
		r = venv__op_cancelled(op, err);
		if (r < 0)
			return r;
		if (!wait[0].revents)
			continue;
		n = read(fd, chunk, sizeof(chunk));
		if (n <= 0 && !(n < 0 && errno == EINTR))
			return 0;
		if (n > 0) {
			venv__op_output(op, NULL, "build", 1, chunk, (size_t)n);
			keep_tail(tail, chunk, (size_t)n);
		}
	}
}

static int build_failed(const struct recipe *recipe, int status, const struct buf *tail,
			venv_error **err)
{
	int r = venv__fail(err, VENV_ERR_BOX, "the build of box '%s' failed with status %d",
			   recipe->name, status);

	r = venv__hint(r, err, "its last lines tell why; the script is '%s/build'", recipe->dir);
	return venv__error_set_details(r, err, tail->data ? tail->data : "");
}

static int run_build(const struct recipe *recipe, const char *out, const char *temporary,
		     struct venv_op *op, venv_error **err)
{
	_cleanup_free_ char *script = venv__path_join(recipe->dir, "build"), *target = strdup(out);
	_cleanup_strv_ char **env = build_environment(temporary);
	_cleanup_close_ int read_end = -1, write_end = -1;
	_cleanup_buf_ struct buf tail = { 0 };
	char *argv[] = { script, target, NULL };
	struct spawn spawn = {
		.path = script, .argv = argv, .envp = env, .directory = recipe->dir, .n_fds = 3
	};
	int ends[2], r, status;
	pid_t pid;

	if (!script || !env || !target)
		return venv__fail_nomem(err);
	if (pipe2(ends, O_CLOEXEC) < 0)
		return venv__fail_errno(err, errno, "cannot run the build");
	read_end = ends[0];
	write_end = ends[1];
	spawn.fds[0] = -1;
	spawn.fds[1] = spawn.fds[2] = write_end;
	pid = venv__child_start(&spawn, err);
	if (pid < 0)
		return pid;
	(void)close(take_fd(&write_end));
	r = pass_output(read_end, op, &tail, err);
	if (r < 0) /* it leads a session, so all of it goes */
		(void)kill(-pid, SIGTERM);
	status = venv__child_wait(pid);
	if (r == 0 && status)
		r = build_failed(recipe, status, &tail, err);
	return r;
}

static int build_archive(struct store *store, const struct recipe *recipe, struct stage *stage,
			 struct venv_op *op, char **ret_path, venv_error **err)
{
	_cleanup_free_ char *temporary = NULL;
	int r = check_needs(recipe, err);

	if (r == 0)
		r = venv__stage_new(store, stage, err);
	if (r == 0)
		r = venv__dir_make_at(stage->dir, "tmp", 0700, NULL, err);
	if (r < 0)
		return r;
	if (asprintf(ret_path, "%s/stage/%s/rootfs.tar", store->path, stage->id) < 0) {
		*ret_path = NULL;
		return venv__fail_nomem(err);
	}
	if (asprintf(&temporary, "%s/stage/%s/tmp", store->path, stage->id) < 0) {
		temporary = NULL;
		return venv__fail_nomem(err);
	}
	venv__op_begin(op, NULL, "build", "building box %s (%s)", recipe->name, recipe->dir);
	r = run_build(recipe, *ret_path, temporary, op, err);
	if (r < 0)
		return r;
	if (access(*ret_path, R_OK) < 0)
		return venv__fail(err, VENV_ERR_BOX, "the build of box '%s' made no archive",
				  recipe->name);
	venv__op_end(op, NULL, "build");
	return 0;
}

static int build_locked(struct store *store, const struct recipe *recipe, struct venv_op *op,
			struct box *ret, venv_error **err)
{
	const char *prebuilt = venv__json_str(recipe->json, "prebuilt");
	const char *kind = venv__json_str(recipe->json, "kind");
	const struct addition how = { .name = recipe->name,
				      .kernel = kind && strcmp(kind, "kernel") == 0,
				      .version = recipe->version,
				      .aliases = recipe->aliases,
				      .source = recipe->dir };
	_cleanup_stage_ struct stage stage = STAGE_INIT;
	_cleanup_free_ char *path = NULL;
	int r = 0;

	if (prebuilt) {
		path = venv__path_join(recipe->dir, prebuilt);
		if (!path)
			return venv__fail_nomem(err);
	} else {
		r = build_archive(store, recipe, &stage, op, &path, err);
	}
	return r < 0 ? r : venv__add_path(store, path, &how, op, ret, err);
}

/* Was the box made while we waited for its lock? */
static bool made_meanwhile(struct store *store, const char *name, int64_t since, struct box *ret)
{
	_cleanup_json_ json_t *names = NULL;
	const json_t *versions;

	if (venv__name_read(store, name, &names, NULL) < 0)
		return false;
	versions = json_object_get(names, "versions");
	for (size_t i = 0; i < json_array_size(versions); i++)
		if (venv__json_int(json_array_get(versions, i), "added", 0) > since)
			return venv__box_open(store->ctx, name, NULL, NULL, ret, NULL) == 0;
	return false;
}

int venv__box_build(struct venv *ctx, const char *reference, struct venv_op *op, struct box *ret,
		    venv_error **err)
{
	_cleanup_store_ struct store store = STORE_INIT;
	_cleanup_recipe_ struct recipe recipe = { 0 };
	_cleanup_box_ struct box box = { 0 };
	_cleanup_close_ int lock = -1;
	int64_t since;
	int r;

	r = find_recipe(ctx, reference, &recipe, err);
	if (r == 0)
		r = venv__store_open(ctx, &store, err);
	if (r < 0)
		return r;
	since = venv__wall_seconds();
	lock = venv__store_lock_name(&store, recipe.name, op, err);
	if (lock < 0)
		return lock;
	if (!made_meanwhile(&store, recipe.name, since, &box)) {
		venv__stage_sweep(&store);
		r = build_locked(&store, &recipe, op, &box, err);
	}
	if (r < 0 || !ret)
		return r;
	*ret = box;
	box = (struct box){ 0 };
	return 0;
}
