/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that are reached by ssh alone: core over a provider without exec, whose machines are a real
 * sshd on this host. */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <venv.h>

#include "provider_fake.h"
#include "remote.h"
#include "util/buf.h"
#include "util/file.h"
#include "util/process.h"

struct world {
	char root[64], data[96], dir[96];
	venv *ctx;
	venv_project *project;
};

static void write_file(const char *dir, const char *name, const char *text)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(venv__file_write(fd, name, text, strlen(text), 0644, WRITE_VOLATILE, NULL),
			 0);
}

static char *read_file(const char *dir, const char *name)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL;

	return venv__file_read(fd, name, 1 << 20, &text, NULL, NULL) < 0 ? NULL : text;
}

/* Run an operation to its end, which must be this code. Its error, or NULL. */
static venv_error *finish(venv_op *op, int code, int *ret_status)
{
	venv_error *err = NULL;
	int r = venv_op_wait(op, &err);

	if (r != code)
		fail_msg("ended with %d, not %d: %s (hint: %s)\n%s", r, code,
			 err ? venv_error_message(err) : "-",
			 err && venv_error_hint(err) ? venv_error_hint(err) : "-",
			 err && venv_error_details(err) ? venv_error_details(err) : "");
	if (ret_status)
		*ret_status = venv_op_exit_status(op);
	venv_op_free(op);
	return err;
}

static int setup(void **state)
{
	venv_options o = VENV_OPTIONS_INIT;
	struct world *w = calloc(1, sizeof(*w));
	venv_op *op;

	(void)snprintf(w->root, sizeof(w->root), "/tmp/venv-test-remote.XXXXXX");
	if (!mkdtemp(w->root))
		return -1;
	(void)chmod(w->root, 0755);
	(void)snprintf(w->data, sizeof(w->data), "%s/data", w->root);
	(void)snprintf(w->dir, sizeof(w->dir), "%s/shop", w->root);
	if (mkdir(w->dir, 0755) < 0)
		return -1;
	o.data_dir = w->data;
	if (venv_new(&o, &w->ctx, NULL) < 0)
		return -1;
	assert_int_equal(venv_box_build(w->ctx, "busybox", &op, NULL), 0);
	venv_error_free(finish(op, 0, NULL));
	fake_ssh(SSH_GOOD, 0);
	fake_console(NULL);
	(void)fake_ssh_tries();
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	venv_project_free(w->project);
	venv_free(w->ctx);
	assert_int_equal(venv__tree_delete(AT_FDCWD, w->root, NULL), 0);
	free(w);
	return 0;
}

static void open_text(struct world *w, const char *more)
{
	venv_project_options o = VENV_PROJECT_OPTIONS_INIT;
	_cleanup_error_ venv_error *err = NULL;
	_cleanup_free_ char *text = NULL;

	assert_true(asprintf(&text, "box: busybox\nprovider: kvm\n%s%s%s",
			     strstr(more, "networks:") ? "" : "networks: []\n",
			     strstr(more, "folders:") ? "" : "folders: []\n", more) > 0);
	write_file(w->dir, "venv.yml", text);
	o.dir = w->dir;
	venv_project_free(w->project);
	if (venv_project_open(w->ctx, &o, &w->project, &err) < 0)
		fail_msg("%s", venv_error_message(err));
}

static venv_error *up(const struct world *w, int code)
{
	venv_op *op = NULL;

	assert_int_equal(venv_up(w->project, NULL, NULL, &op, NULL), 0);
	return finish(op, code, NULL);
}

/* A file for the output of a command. */
static int output_file(const struct world *w, const char *name)
{
	_cleanup_free_ char *path = venv__path_join(w->root, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	return fd;
}

static int run(const struct world *w, venv_run_options *o, const char *const *argv)
{
	_cleanup_close_ int out = output_file(w, "out"), error = output_file(w, "err");
	venv_op *op;
	int status;

	o->argv = argv;
	o->stdout_fd = out;
	if (!o->tty)
		o->stderr_fd = error;
	assert_int_equal(venv_exec(w->project, NULL, o, &op, NULL), 0);
	venv_error_free(finish(op, 0, &status));
	return status;
}

#define assert_file(w, name, expected)                                                             \
	do {                                                                                       \
		_cleanup_free_ char *text_ = read_file((w)->root, name);                           \
		assert_string_equal(text_, expected);                                              \
	} while (0)

/* ---- Commands ------------------------------------------------------------------------------ */

static void commands_run_over_ssh(void **state)
{
	static const char *const plain[] = { "sh", "-c", "echo out; echo err >&2; pwd; exit 7",
					     NULL };
	static const char *const words[] = { "printf", "%s|", "a b",  "'", "\"", "$HOME",
					     "`id`",   "\\",  "!",    "*", "\n", "",
					     "~",      ";",   "\xff", NULL };
	static const char *const env[] = { "printenv", "OF_FILE", "OF_CALL", NULL };
	static const char *const given[] = { "OF_CALL=x y'z", NULL };
	static const char *const where[] = { "pwd", NULL };
	struct world *w = *state;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;

	open_text(w, "env: { OF_FILE: \"it's\" }\n");
	venv_error_free(up(w, 0));
	assert_int_equal(run(w, &o, plain), 7);
	assert_file(w, "out", "out\n/root\n");
	assert_file(w, "err", "err\n");
	assert_int_equal(run(w, &o, words), 0);
	assert_file(w, "out", "a b|'|\"|$HOME|`id`|\\|!|*|\n||~|;|\xff|");
	o.env = given;
	assert_int_equal(run(w, &o, env), 0);
	assert_file(w, "out", "it's\nx y'z\n");
	o.directory = "/usr/lib";
	assert_int_equal(run(w, &o, where), 0);
	assert_file(w, "out", "/usr/lib\n");
	o.directory = "/nowhere at all";
	assert_int_equal(run(w, &o, where), 126);
}

static void a_command_reads_its_input(void **state)
{
	static const char *const argv[] = { "sha256sum", NULL };
	struct world *w = *state;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;
	_cleanup_close_ int in = output_file(w, "in");
	char chunk[4096];

	for (size_t i = 0; i < sizeof(chunk); i++)
		chunk[i] = (char)(i * 7);
	for (int i = 0; i < 1024; i++)
		assert_int_equal(venv__write_all(in, chunk, sizeof(chunk)), 0);
	assert_int_equal(lseek(in, 0, SEEK_SET), 0);
	open_text(w, "");
	venv_error_free(up(w, 0));
	o.stdin_fd = in;
	assert_int_equal(run(w, &o, argv), 0);
	{
		_cleanup_free_ char *here = NULL, *there = read_file(w->root, "out");
		char name[] = "sha256sum", path[128], *const local[] = { name, path, NULL };

		(void)snprintf(path, sizeof(path), "%s/in", w->root);
		assert_int_equal(venv__run(local, &here, NULL), 0);
		assert_memory_equal(here, there, 64);
	}
}

static void another_user_runs_it(void **state)
{
	static const char *const argv[] = { "sh", "-c",        "id -un; echo \"$1\"",
					    "x",  "it's \"\\", NULL };
	struct world *w = *state;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;

	open_text(w, "");
	venv_error_free(up(w, 0));
	o.user = "daemon";
	o.directory = "/";
	assert_int_equal(run(w, &o, argv), 0);
	assert_file(w, "out", "daemon\nit's \"\\\n");
	o.user = "nobody-here";
	assert_int_not_equal(run(w, &o, argv), 0);
}

/* A login that is not root goes through sudo; here root does, which sudo minds not. */
static void the_line_for_sudo(void **state)
{
	static const struct {
		const char *login, *user, *expected;
	} cases[] = {
		{ "vagrant", NULL, "'/bin/sh'" },
		{ "vagrant", "vagrant", "'/bin/sh'" },
		{ "vagrant", "root", "'sudo' '-n' '-H' '-u' 'root' '--' '/bin/sh'" },
		{ "vagrant", "1000", "'sudo' '-n' '-H' '-u' '#1000' '--' '/bin/sh'" },
		{ "root", "1000", "'sudo' '-n' '-H' '-u' '#1000' '--' '/bin/sh'" },
		{ "root", "web", "'su' '-s' '/bin/sh' 'web' '-c' ''\\''/bin/sh'\\''" },
	};
	char word[] = "it's", *const argv[] = { word, NULL };
	const struct machine_spec machine_spec = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct machine machine = { .login = cases[i].login, .spec = &machine_spec };
		const struct exec_spec spec = { .argv = argv, .user = cases[i].user };
		_cleanup_free_ char *line = venv__remote_command(&machine, &spec, NULL);

		if (strncmp(line, cases[i].expected, strlen(cases[i].expected)) != 0)
			fail_msg("%s", line);
	}
}

static void a_terminal_is_one_there(void **state)
{
	static const char *const argv[] = { "sh", "-c",
					    "test -t 0 && test -t 1 && stty size; echo $TERM",
					    NULL };
	struct world *w = *state;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;

	open_text(w, "");
	venv_error_free(up(w, 0));
	o.tty = 1;
	o.rows = 33;
	o.columns = 77;
	o.term = "vt100";
	assert_int_equal(run(w, &o, argv), 0);
	assert_file(w, "out", "33 77\r\nvt100\r\n");
}

static void a_machine_that_goes_away_is_an_error(void **state)
{
	static const char *const argv[] = { "true", NULL };
	struct world *w = *state;
	venv_run_options o = VENV_RUN_OPTIONS_INIT;
	venv_op *op;
	venv_error *err;

	open_text(w, "");
	venv_error_free(up(w, 0));
	o.argv = argv;
	fake_ssh(SSH_MUTE, 1);
	assert_int_equal(venv_exec(w->project, NULL, &o, &op, NULL), 0);
	err = finish(op, VENV_ERR_NETWORK, NULL);
	assert_non_null(strstr(venv_error_message(err), "ssh to 'venv-"));
	venv_error_free(err);
	fake_ssh(SSH_HOST_KEY, 1);
	assert_int_equal(venv_exec(w->project, NULL, &o, &op, NULL), 0);
	err = finish(op, VENV_ERR_DENIED, NULL);
	assert_non_null(strstr(venv_error_message(err), "keys/host.pub"));
	venv_error_free(err);
}

static void *cancel_soon(void *op)
{
	(void)usleep(1500000);
	venv_op_cancel(op);
	return NULL;
}

/* What it started goes with it, also where ssh cannot reach: another user's. */
static void a_command_is_cancelled(void **state)
{
	static const char *const users[] = { "root", "daemon" };
	struct world *w = *state;

	open_text(w, "");
	venv_error_free(up(w, 0));
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		char text[64], pgrep[] = "pgrep", flag[] = "-f", pattern[32];
		const char *const argv[] = { "sh", "-c", text, NULL };
		char *const look[] = { pgrep, flag, pattern, NULL };
		venv_run_options o = VENV_RUN_OPTIONS_INIT;
		_cleanup_error_ venv_error *err = NULL;
		pthread_t thread;
		venv_op *op;

		(void)snprintf(pattern, sizeof(pattern), "^sleep 6%d%zu$", getpid(), i);
		(void)snprintf(text, sizeof(text), "sleep 6%d%zu; true", getpid(), i);
		o.argv = argv;
		o.user = users[i];
		o.directory = "/";
		assert_int_equal(venv_exec(w->project, NULL, &o, &op, NULL), 0);
		assert_int_equal(pthread_create(&thread, NULL, cancel_soon, op), 0);
		assert_int_equal(venv_op_wait(op, &err), VENV_ERR_CANCELLED);
		(void)pthread_join(thread, NULL);
		venv_op_free(op);
		assert_int_equal(venv__run(look, NULL, NULL), 1);
	}
}

/* ---- Steps and copies ---------------------------------------------------------------------- */

static void steps_run_as_in_a_container(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *text = NULL, *log = NULL;
	struct stat st;
	char path[128];

	write_file(w->dir, "script", "#!/bin/sh\necho \"script $1 $VENV_MACHINE\" >> \"$2\"\n");
	write_file(w->dir, "file", "content\n");
	assert_true(asprintf(&text,
			     "provision:\n"
			     "  - run: echo \"run $VENV_PROJECT $(id -un)\" >> %s/log\n"
			     "  - { script: ./script, args: [\"a b\", %s/log] }\n"
			     "  - { copy: ./file, to: %s/copied, mode: \"0640\", owner: daemon }\n",
			     w->root, w->root, w->root) > 0);
	open_text(w, text);
	venv_error_free(up(w, 0));
	log = read_file(w->root, "log");
	assert_string_equal(log, "run shop root\nscript a b default\n");
	assert_file(w, "copied", "content\n");
	(void)snprintf(path, sizeof(path), "%s/copied", w->root);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_uid, 1);
}

static void a_failing_step_says_why(void **state)
{
	struct world *w = *state;
	venv_error *err;

	open_text(w, "provision: [ { run: \"echo so it is >&2; exit 4\" } ]\n");
	err = up(w, VENV_ERR_COMMAND);
	assert_non_null(strstr(venv_error_message(err), "status 4"));
	assert_string_equal(venv_error_details(err), "so it is\n");
	venv_error_free(err);
}

static void copy(const struct world *w, const char *from, const char *to, int code)
{
	venv_op *op;

	assert_int_equal(venv_copy(w->project, from, to, &op, NULL), 0);
	venv_error_free(finish(op, code, NULL));
}

static void trees_go_in_and_out(void **state)
{
	struct world *w = *state;
	char tree[128], there[128], back[128], missing[128];

	(void)snprintf(tree, sizeof(tree), "%s/tree", w->dir);
	(void)snprintf(there, sizeof(there), ":%s/it's there", w->root);
	(void)snprintf(back, sizeof(back), "%s/back", w->root);
	(void)snprintf(missing, sizeof(missing), ":%s/missing", w->root);
	open_text(w, "");
	venv_error_free(up(w, 0));
	assert_int_equal(mkdir(tree, 0755), 0);
	write_file(tree, "a b", "one\n");
	write_file(tree, "c", "two\n");
	copy(w, tree, there, 0);
	copy(w, there, back, 0);
	assert_file(w, "it's there/a b", "one\n");
	assert_file(w, "back/c", "two\n");
	copy(w, missing, back, VENV_ERR_COMMAND);
	fake_ssh(SSH_MUTE, 1);
	copy(w, tree, there, VENV_ERR_NETWORK);
	fake_ssh(SSH_MUTE, 1);
	copy(w, there, back, VENV_ERR_NETWORK);
}

static int listen_on_loopback(uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void a_port_is_seen_from_within(void **state)
{
	struct world *w = *state;
	uint16_t port;
	_cleanup_close_ int fd = listen_on_loopback(&port);
	_cleanup_free_ char *text = NULL;
	venv_error *err;

	assert_true(asprintf(&text, "ready: { tcp: %u, every: 50ms, within: 1s }\n", port) > 0);
	open_text(w, text);
	err = up(w, VENV_ERR_TIMEOUT);
	assert_non_null(strstr(venv_error_message(err), "nothing answers on port"));
	venv_error_free(err);
	assert_int_equal(listen(fd, 4), 0);
	venv_error_free(up(w, 0));
}

/* ---- Folders ------------------------------------------------------------------------------- */

static void folders_are_mounted_once(void **state)
{
	struct world *w = *state;
	_cleanup_free_ char *text = NULL, *there = venv__path_join(w->root, "it's there");
	venv_error *err;

	assert_true(asprintf(&text, "folders: [ { host: ., guest: \"%s\" } ]\n", there) > 0);
	open_text(w, text);
	/* this host is no guest: nobody shares anything with it */
	err = up(w, VENV_ERR_COMMAND);
	assert_non_null(strstr(venv_error_message(err), "shared folders cannot be mounted"));
	assert_non_null(venv_error_details(err));
	assert_non_null(strstr(venv_error_hint(err), "virtiofs"));
	venv_error_free(err);
	assert_int_equal(mount("none", there, "tmpfs", 0, NULL), 0);
	err = up(w, 0);
	assert_int_equal(umount2(there, MNT_DETACH), 0);
	venv_error_free(err);
}

/* ---- Waiting for ssh ----------------------------------------------------------------------- */

static void ssh_may_take_its_time(void **state)
{
	static const enum ssh_fault faults[] = { SSH_CLOSED, SSH_MUTE, SSH_HOST_KEY, SSH_NO_KEY };
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		venv_op *op;

		open_text(w, "");
		fake_ssh(faults[i], 3);
		venv_error_free(up(w, 0));
		assert_int_equal(fake_ssh_tries(), 4);
		/* asked once for each start */
		venv_error_free(up(w, 0));
		assert_int_equal(fake_ssh_tries(), 0);
		assert_int_equal(venv_halt(w->project, NULL, 0, &op, NULL), 0);
		venv_error_free(finish(op, 0, NULL));
		venv_error_free(up(w, 0));
		assert_int_equal(fake_ssh_tries(), 1);
		assert_int_equal(venv_destroy(w->project, NULL, 0, &op, NULL), 0);
		venv_error_free(finish(op, 0, NULL));
	}
}

static void what_never_comes_is_named(void **state)
{
	static const struct {
		enum ssh_fault fault;
		const char *console;
		int code;
		const char *message;
	} cases[] = {
		{ SSH_CLOSED, "login: ", VENV_ERR_TIMEOUT,
		  "ssh does not reach it: no answer within 1 s (nobody answers)" },
		{ SSH_HOST_KEY, "login: ", VENV_ERR_DENIED, "its host key is not the one" },
		{ SSH_NO_KEY, "login: ", VENV_ERR_DENIED, "it refused the key for user 'root'" },
		{ SSH_ENDS, "reboot: Power down\n", VENV_ERR_STATE,
		  "ssh does not reach it: the machine ended while it started" },
		{ SSH_CRASHES, "Booting\n", VENV_ERR_STATE,
		  "the machine crashed while it started: a triple fault" },
		{ SSH_KILLED, "Booting\n", VENV_ERR_STATE, "the machine crashed while it started" },
		{ SSH_CLOSED, "x\n[    1.0] Kernel panic - not syncing: VFS: Unable to mount\n",
		  VENV_ERR_STATE, "its kernel panicked" },
		{ SSH_CLOSED,
		  "x\n[    0.4] Initramfs unpacking failed: ZSTD-compressed data is truncated\n"
		  "[    1.0] Kernel panic - not syncing: VFS: Unable to mount\n",
		  VENV_ERR_STATE, "its initrd is damaged or cut short" },
		/* what is behind an initrd that was whole may be no archive */
		{ SSH_CLOSED, "Initramfs unpacking failed: Decoding failed\nlogin: ",
		  VENV_ERR_TIMEOUT, "no answer within 1 s" },
		{ SSH_CLOSED, "You are in emergency mode. After logging in", VENV_ERR_STATE,
		  "emergency shell" },
		{ SSH_CLOSED, "BusyBox v1.35\n(initramfs) ", VENV_ERR_STATE, "initramfs" },
		{ SSH_CLOSED, "Booting from Hard Disk...\nNo bootable device.\n", VENV_ERR_STATE,
		  "nothing to boot" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		venv_error *err;
		venv_op *op;

		open_text(w, "boot_timeout: 1s\n");
		fake_ssh(cases[i].fault, -1);
		fake_console(cases[i].console);
		err = up(w, cases[i].code);
		if (!strstr(venv_error_message(err), cases[i].message))
			fail_msg("%s", venv_error_message(err));
		assert_non_null(venv_error_hint(err));
		if (cases[i].code != VENV_ERR_DENIED)
			assert_non_null(venv_error_details(err));
		venv_error_free(err);
		/* it stays to be looked at, and the next up tries again; a new start has a new console */
		fake_ssh(SSH_GOOD, 0);
		fake_console(NULL);
		assert_int_equal(venv_halt(w->project, NULL, VENV_FORCE, &op, NULL), 0);
		venv_error_free(finish(op, 0, NULL));
		venv_error_free(up(w, 0));
		assert_int_equal(venv_destroy(w->project, NULL, 0, &op, NULL), 0);
		venv_error_free(finish(op, 0, NULL));
	}
}

static void a_bad_initrd_has_its_place(void **state)
{
	struct world *w = *state;
	venv_error *err;
	venv_op *op;

	open_text(w, "kvm:\n  kernel: ./k\n  initrd: ./i\n");
	fake_ssh(SSH_CLOSED, -1);
	fake_console("Initramfs unpacking failed: junk\nKernel panic - not syncing: VFS\n");
	err = up(w, VENV_ERR_STATE);
	assert_int_equal(venv_error_line(err), 7);
	assert_non_null(strstr(venv_error_hint(err), "download the initrd again"));
	assert_non_null(strstr(venv_error_details(err), "Initramfs unpacking failed"));
	venv_error_free(err);
	assert_int_equal(venv_destroy(w->project, NULL, 0, &op, NULL), 0);
	venv_error_free(finish(op, 0, NULL));
}

/* Nobody asks for an address there: no guest is in the network. */
static void one_without_an_address_is_told(void **state)
{
	struct world *w = *state;
	venv_error *err;
	venv_op *op;

	open_text(w, "networks: [ project ]\nboot_timeout: 1s\n");
	fake_ssh(SSH_CLOSED, -1);
	err = up(w, VENV_ERR_TIMEOUT);
	assert_string_equal(venv_error_message(err),
			    "ssh does not reach it: no answer within 1 s: it never asked for an "
			    "address (DHCP); nobody answers");
	assert_non_null(strstr(venv_error_hint(err), "by DHCP or cloud-init"));
	venv_error_free(err);
	assert_int_equal(venv_destroy(w->project, NULL, 0, &op, NULL), 0);
	venv_error_free(finish(op, 0, NULL));
}

static void the_next_up_waits_on(void **state)
{
	struct world *w = *state;

	open_text(w, "boot_timeout: 1s\n");
	fake_ssh(SSH_CLOSED, -1);
	venv_error_free(up(w, VENV_ERR_TIMEOUT));
	fake_ssh(SSH_GOOD, 0);
	(void)fake_ssh_tries();
	venv_error_free(up(w, 0));
	assert_int_equal(fake_ssh_tries(), 1);
}

static void waiting_is_cancelled(void **state)
{
	struct world *w = *state;
	pthread_t thread;
	venv_op *op;
	venv_error *err = NULL;

	open_text(w, "");
	fake_ssh(SSH_CLOSED, -1);
	assert_int_equal(venv_up(w->project, NULL, NULL, &op, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, op), 0);
	assert_int_equal(venv_op_wait(op, &err), VENV_ERR_CANCELLED);
	venv_error_free(err);
	(void)pthread_join(thread, NULL);
	venv_op_free(op);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(commands_run_over_ssh),      CASE(a_command_reads_its_input),
		CASE(another_user_runs_it),       cmocka_unit_test(the_line_for_sudo),
		CASE(a_terminal_is_one_there),    CASE(a_machine_that_goes_away_is_an_error),
		CASE(a_command_is_cancelled),     CASE(steps_run_as_in_a_container),
		CASE(a_failing_step_says_why),    CASE(trees_go_in_and_out),
		CASE(a_port_is_seen_from_within), CASE(ssh_may_take_its_time),
		CASE(what_never_comes_is_named),  CASE(one_without_an_address_is_told),
		CASE(a_bad_initrd_has_its_place), CASE(the_next_up_waits_on),
		CASE(waiting_is_cancelled),       CASE(folders_are_mounted_once),
	};

	if (geteuid() != 0 || access("/usr/sbin/sshd", X_OK) < 0) {
		print_message("needs root and /usr/sbin/sshd\n");
		return 77;
	}
	return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}
