/* SPDX-License-Identifier: Apache-2.0 */
#include "container_world.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "providers/container/container.h"
#include "util/process.h"
#include "util/sys.h"

enum { SURVEY_TRIES = 60, SURVEY_PAUSE_MS = 50 };
enum { WAIT_MS = 8000, OUTPUT_MAX = 1024 * 1024 };

static const struct provider *const provider = &container_provider;

/* ---- what core gives ----------------------------------------------------------------------- */

int venv__context_data(struct venv *ctx, venv_error **err)
{
	(void)err;
	return ctx->data_fd;
}

int venv__context_map(struct venv *ctx, const struct idmap **ret, venv_error **err)
{
	int r = ctx->map_loaded ? 0 : venv__idmap_load(&ctx->map, err);

	ctx->map_loaded = r == 0;
	*ret = &ctx->map;
	return r;
}

char *venv__context_program(const struct venv *ctx, const char *name)
{
	return venv__path_join(ctx->libexec_dir, name);
}

void venv__log(struct venv *ctx, int level, const char *format, ...)
{
	(void)ctx;
	(void)level;
	(void)format;
}

int venv__op_cancelled(struct venv_op *op, venv_error **err)
{
	(void)op;
	(void)err;
	return 0;
}

void venv__op_notice(struct venv_op *op, const char *machine, const char *format, ...)
{
	(void)op;
	(void)machine;
	(void)format;
}

int venv__op_cancel_fd(const struct venv_op *op)
{
	(void)op;
	return -1;
}

/* ---- the box ------------------------------------------------------------------------------- */

static const char setup_script[] =
	"set -e; cd \"$1\"; mkdir -p bin sbin etc root home/dev tmp usr/bin var/tmp\n"
	"chmod 1777 tmp; cp /bin/busybox bin/busybox\n"
	"printf 'root:x:0:0:root:/root:/bin/sh\\ndev:x:1000:1000::/home/dev:/bin/sh\\n' "
	">etc/passwd\n"
	"printf 'root:x:0:\\nwheel:x:10:dev\\ndev:x:1000:\\n' >etc/group\n"
	"echo from-the-box >etc/box\n";

/* bin/ls, bin/cat…: by a shell this would take most of a test's time */
static void link_applets(const struct world *world)
{
	char busybox[] = "/bin/busybox", list[] = "--list", *argv[] = { busybox, list, NULL };
	_cleanup_free_ char *text = NULL;
	char *name, *save = NULL;

	assert_int_equal(venv__run(argv, &text, NULL), 0);
	for (name = strtok_r(text, "\n", &save); name; name = strtok_r(NULL, "\n", &save)) {
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/bin/%s", world->layer, name);
		if (symlink("busybox", path) < 0)
			assert_int_equal(errno, EEXIST);
	}
}

static int shell(const char *script, const char *argument)
{
	char sh[] = "/bin/sh", option[] = "-c", name[] = "sh";
	_cleanup_free_ char *text = strdup(script), *word = strdup(argument);
	char *argv[] = { sh, option, text, name, word, NULL };
	int r = venv__run(argv, NULL, NULL);

	return r;
}

static void own_tree(const struct world *world)
{
	char command[256];

	if (!world->ctx.map.root)
		return;
	(void)snprintf(command, sizeof(command),
		       "chown -hR %u:%u \"$1\" && chown -hR %u:%u \"$1\"/home/dev",
		       world->ctx.map.uid, world->ctx.map.gid, world->ctx.map.uid + 1000,
		       world->ctx.map.gid + 1000);
	assert_int_equal(shell(command, world->layer), 0);
}

void world_box_file(struct world *world, const char *path, const char *text, mode_t mode)
{
	_cleanup_free_ char *full = venv__path_join(world->layer, path);
	int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(venv__write_all(fd, text, strlen(text)), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	if (world->ctx.map.root)
		assert_int_equal(fchown(fd, world->ctx.map.uid, world->ctx.map.gid), 0);
	(void)close(fd);
}

void world_box_link(struct world *world, const char *path, const char *target)
{
	_cleanup_free_ char *full = venv__path_join(world->layer, path);

	(void)venv__tree_delete(AT_FDCWD, full, NULL);
	assert_int_equal(symlink(target, full), 0);
}

/* ---- what must not stay behind ------------------------------------------------------------- */

static char *survey_once(const struct world *world)
{
	char script[512];
	_cleanup_free_ char *text = NULL;
	char sh[] = "/bin/sh", option[] = "-c";
	char *argv[] = { sh, option, script, NULL };

	(void)snprintf(script, sizeof(script),
		       "find /sys/fs/cgroup -name 'venv-%s*' 2>/dev/null; "
		       "ls -l /proc/[0-9]*/fd 2>/dev/null | grep %s/machine/alive; "
		       "grep %s /proc/self/mountinfo",
		       world->machine.id, world->root, world->root);
	(void)venv__run(argv, &text, NULL);
	return take_ptr(text);
}

/* A keeper unmounts after it has answered, and systemd takes its scope down after that. */
static char *survey(const struct world *world)
{
	for (int i = 0; i < SURVEY_TRIES; i++) {
		_cleanup_free_ char *left = survey_once(world);

		if (!left || !*left)
			return NULL;
		(void)poll(NULL, 0, SURVEY_PAUSE_MS);
	}
	return survey_once(world);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int open_dir(const char *parent, const char *name, char **ret_path)
{
	char *path = venv__path_join(parent, name);
	int fd = -1;

	assert_int_equal(venv__dir_make(path, &fd, NULL), 0);
	*ret_path = path;
	return fd;
}

static void fill_machine(struct world *world)
{
	static char id[33];
	char *dir = NULL;

	assert_int_equal(venv__random_id(id), 0);
	world->machine = (struct machine){
		.ctx = &world->ctx,
		.id = id,
		.name = "web",
		.project = "test",
		.spec = &world->spec,
		.map = &world->ctx.map,
		.folders = world->folders,
		.login = "root",
	};
	world->machine.dir_fd = open_dir(world->root, "machine", &dir);
	world->machine.dir = dir;
	world->layers[0] = world->layer;
	world->machine.image.layers = world->layers;
}

int world_setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	char template[] = "/var/tmp/venv-test-XXXXXX", hostname[] = "web", *path = NULL;
	venv_error *error = NULL;
	const char *libexec = getenv("VENV_LIBEXEC");

	if (!world || !libexec || !mkdtemp(template))
		return -1;
	world->root = strdup(template);
	world->ctx.libexec_dir = strdup(libexec);
	if (venv__idmap_load(&world->ctx.map, &error) < 0) {
		print_message("skipped: %s\n", venv_error_message(error));
		return -1;
	}
	world->ctx.map_loaded = true;
	world->ctx.data_fd = open_dir(world->root, "data", &path);
	free(path);
	(void)close(open_dir(world->root, "layer", &world->layer));
	(void)close(open_dir(world->root, "shared", &world->shared));
	if (chmod(world->root, 0700) < 0 || shell(setup_script, world->layer) != 0)
		return -1;
	link_applets(world);
	own_tree(world);
	world->spec = (struct machine_spec){ .name = strdup(hostname),
					     .hostname = strdup(hostname),
					     .stop_timeout_ms = 5000 };
	fill_machine(world);
	*state = world;
	return 0;
}

static void world_free(struct world *world)
{
	if (world->machine.dir_fd >= 0)
		(void)close(world->machine.dir_fd);
	if (world->ctx.data_fd >= 0)
		(void)close(world->ctx.data_fd);
	free((char *)(uintptr_t)world->machine.dir);
	free(world->spec.name);
	free(world->spec.hostname);
	free(world->ctx.libexec_dir);
	free(world->layer);
	free(world->shared);
	free(world->root);
	free(world);
}

int world_teardown(void **state)
{
	struct world *world = *state;
	_cleanup_free_ char *left = NULL;
	_cleanup_error_ venv_error *error = NULL;
	int r = provider->destroy(&world->machine, NULL, &error);

	if (r < 0)
		print_error("destroy: %s\n", venv_error_message(error));
	left = survey(world);
	if (left && *left)
		print_error("left behind:\n%s\n", left);
	if (faccessat(world->machine.dir_fd, "upper", F_OK, 0) == 0) {
		print_error("upper is still there\n");
		r = -1;
	}
	(void)venv__tree_delete(AT_FDCWD, world->root, NULL);
	world_free(world);
	return r < 0 || (left && *left) ? -1 : 0;
}

static void check(int r, venv_error *error, const char *what)
{
	if (r >= 0)
		return;
	print_error("%s: %s (%s)%s%s\n", what, venv_error_message(error),
		    error ? error->origin : "", venv_error_hint(error) ? "; hint: " : "",
		    venv_error_hint(error) ? venv_error_hint(error) : "");
	fail();
}

void world_up(struct world *world)
{
	_cleanup_error_ venv_error *error = NULL;
	int r = provider->create(&world->machine, NULL, &error);

	check(r, error, "create");
	r = provider->start(&world->machine, NULL, &error);
	check(r, error, "start");
	assert_int_equal(world_state(world), MACHINE_RUNNING);
}

void world_down(struct world *world)
{
	_cleanup_error_ venv_error *error = NULL;
	int r = provider->stop(&world->machine, STOP_GRACEFUL, NULL, &error);

	check(r, error, "stop");
	assert_int_equal(world_state(world), MACHINE_STOPPED);
}

enum machine_state world_state(struct world *world)
{
	enum machine_state state = MACHINE_ABSENT;

	assert_int_equal(provider->observe(&world->machine, &state, NULL), 0);
	return state;
}

void world_wait(struct world *world, enum machine_state state)
{
	for (int i = 0; i < WAIT_MS && world_state(world) != state; i++)
		(void)poll(NULL, 0, 1);
	assert_int_equal(world_state(world), state);
}

static int status_of(const json_t *message)
{
	if (json_object_get(message, "signal"))
		return 128 + (int)venv__json_int(message, "signal", 0);
	return (int)venv__json_int(message, "exit", -1);
}

/* Output until its end, then the status. */
static struct output collect(const struct exec_handle *handle, int read_fd)
{
	struct output output = { .status = -1 };
	struct buf text = { 0 };
	char chunk[4096];
	json_t *message = NULL;
	ssize_t n;

	while ((n = read(read_fd, chunk, sizeof(chunk))) > 0)
		if (text.length < OUTPUT_MAX)
			venv__buf_add(&text, chunk, (size_t)n);
	if (venv__msg_receive(handle->control, WAIT_MS, &message, NULL, NULL) > 0)
		output.status = status_of(message);
	json_decref(message);
	output.text = venv__buf_steal(&text);
	(void)close(handle->control);
	if (handle->tty >= 0)
		(void)close(handle->tty);
	return output;
}

struct output world_exec(struct world *world, const struct exec_spec *spec)
{
	_cleanup_error_ venv_error *error = NULL;
	struct exec_handle handle = { .control = -1, .tty = -1 };
	struct exec_spec copy = *spec;
	int pipe_fds[2];
	struct output output;
	int r;

	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	if (copy.fds[1] == -1)
		copy.fds[1] = copy.fds[2] = pipe_fds[1];
	r = provider->exec(&world->machine, &copy, &handle, &error);
	check(r, error, "exec");
	(void)close(pipe_fds[1]);
	output = collect(&handle, spec->tty ? handle.tty : pipe_fds[0]);
	(void)close(pipe_fds[0]);
	return output;
}

struct output world_run(struct world *world, const char *script)
{
	char sh[] = "/bin/sh", option[] = "-c";
	_cleanup_free_ char *text = strdup(script);
	char *argv[] = { sh, option, text, NULL };
	struct exec_spec spec = { .argv = argv, .fds = { -1, -1, -1 } };

	return world_exec(world, &spec);
}

struct output world_run_as(struct world *world, const char *user, const char *script)
{
	char sh[] = "/bin/sh", option[] = "-c";
	_cleanup_free_ char *text = strdup(script);
	char *argv[] = { sh, option, text, NULL };
	struct exec_spec spec = { .argv = argv, .fds = { -1, -1, -1 }, .user = user };

	return world_exec(world, &spec);
}

void world_expect(struct world *world, const char *script, const char *text)
{
	struct output output = world_run(world, script);

	if (output.status != 0)
		print_error("'%s' gave %d: %s\n", script, output.status, output.text);
	assert_int_equal(output.status, 0);
	assert_string_equal(output.text, text);
	free(output.text);
}
