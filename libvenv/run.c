/* SPDX-License-Identifier: Apache-2.0 */
/* exec, ssh and cp. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "guest.h"
#include "lifecycle.h"
#include "op_private.h"
#include "options.h"
#include "ssh/ssh.h"
#include "util/msg.h"

/* A run's options, copied: they must outlive the call. */
struct run {
	struct venv_project *project;
	char *machine;
	bool over_ssh;
	venv_run_options o;
	char **argv, **env;
	char *user, *directory, *term;
};

static void run_free(void *user)
{
	struct run *run = user;

	free(run->machine);
	venv__strv_free(run->argv);
	venv__strv_free(run->env);
	free(run->user);
	free(run->directory);
	free(run->term);
	free(run);
}

static int run_exec(struct run *run, struct work *work, struct venv_op *op, venv_error **err)
{
	struct exec_spec spec = {
		.argv = run->argv,
		.user = run->user,
		.directory = run->directory,
		.env = run->env,
		.tty = run->o.tty,
		.rows = run->o.rows ? run->o.rows : 24,
		.columns = run->o.columns ? run->o.columns : 80,
		.term = run->term ? run->term : "xterm-256color",
	};
	struct guest_io io = GUEST_IO_INIT;

	io.in = run->o.stdin_fd;
	io.out = run->o.stdout_fd;
	io.err = run->o.stderr_fd;
	io.tty = run->o.tty;
	return venv__guest_run(work->provider, &work->machine, &spec, &io, op, err);
}

/* ssh joins the words by spaces, as every ssh client does. */
static char *join(char *const *argv)
{
	_cleanup_buf_ struct buf text = { 0 };

	for (char *const *word = argv; *word; word++)
		venv__buf_printf(&text, "%s%s", word == argv ? "" : " ", *word);
	return venv__buf_steal(&text);
}

static json_t *request_message(const struct op_request *request, int number)
{
	if (number)
		return json_pack("{s:s, s:i}", "op", "signal", "signal", number);
	return json_pack("{s:s, s:i, s:i}", "op", "resize", "rows", (int)request->rows, "columns",
			 (int)request->columns);
}

/* Pass requests of the operation on to the ssh client until it ends: a thread of its own, because the
 * call that runs the client waits for it. */
struct forward {
	struct venv_op *op;
	int control, stop_fd;
};

static void forward_requests(const struct forward *forward)
{
	struct op_request request = venv__op_take_request(forward->op);

	for (int number = 0; number < 64; number++) {
		_cleanup_json_ json_t *message = NULL;

		if (number ? !(request.signals & (1ULL << number)) : !request.rows)
			continue;
		message = request_message(&request, number);
		if (message)
			(void)venv__msg_send(forward->control, message, NULL, 0, NULL);
	}
}

static void *forward_main(void *arg)
{
	const struct forward *forward = arg;

	for (;;) {
		struct pollfd fds[] = { { .fd = venv__op_request_fd(forward->op),
					  .events = POLLIN },
					{ .fd = forward->stop_fd, .events = POLLIN } };

		if (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents)
			return NULL;
		if (fds[0].revents)
			forward_requests(forward);
	}
}

static int call_client(struct venv *ctx, const struct ssh_target *target, struct ssh_run *ssh,
		       struct venv_op *op, venv_error **err)
{
	struct forward forward = { .op = op, .control = -1, .stop_fd = -1 };
	int requests[2], stop[2], r;
	pthread_t thread;

	if (!ssh->tty)
		return venv__ssh_run(ctx, target, ssh, op, err);
	r = venv__msg_pair(requests);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	if (pipe2(stop, O_CLOEXEC) < 0) {
		(void)close(requests[0]);
		(void)close(requests[1]);
		return venv__fail_errno(err, errno, "cannot make a pipe");
	}
	forward.control = requests[0];
	forward.stop_fd = stop[0];
	ssh->control = requests[1];
	r = pthread_create(&thread, NULL, forward_main, &forward);
	if (r == 0) {
		r = venv__ssh_run(ctx, target, ssh, op, err);
		(void)close(stop[1]);
		(void)pthread_join(thread, NULL);
	} else {
		(void)close(stop[1]);
		r = venv__fail_errno(err, r, "cannot start a thread");
	}
	(void)close(stop[0]);
	(void)close(requests[0]);
	(void)close(requests[1]);
	return r;
}

static int read_key(const struct record *record, const char *name, char **ret, venv_error **err)
{
	_cleanup_close_ int keys =
		openat(record->dir_fd, "keys", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (keys < 0)
		return venv__fail_errno(err, errno, "cannot open the keys of the machine");
	r = venv__file_read(keys, name, 65536, ret, NULL, err);
	if (r == 0)
		(*ret)[strcspn(*ret, "\n")] = '\0';
	return r;
}

static int run_ssh(struct run *run, struct work *work, struct venv_op *op, venv_error **err)
{
	_cleanup_free_ char *command = run->argv ? join(run->argv) : NULL;
	_cleanup_free_ char *host_key = NULL, *key = NULL, *alias = NULL;
	_cleanup_close_ int fd = -1;
	struct ssh_target target;
	struct ssh_run ssh = {
		.command = command,
		.env = run->env,
		.fds = { run->o.stdin_fd, run->o.stdout_fd, run->o.stderr_fd },
		.tty = run->o.tty,
		.rows = run->o.rows ? run->o.rows : 24,
		.columns = run->o.columns ? run->o.columns : 80,
		.term = run->term ? run->term : "xterm-256color",
		.agent = run->o.forward_agent || work->spec->ssh.forward_agent
				 ? getenv("SSH_AUTH_SOCK")
				 : NULL,
		.control = -1,
	};
	int r = 0;

	if (ssh.agent && !run->o.forward_agent)
		r = venv__approval_check_agent(run->project, work->spec->name, err);
	if (r == 0)
		r = read_key(&work->record, "host.pub", &host_key, err);
	if (r < 0)
		return r;
	if ((run->argv && !command) || asprintf(&key, "%s/keys/user", work->record.dir) < 0 ||
	    asprintf(&alias, "venv-%s", work->record.id) < 0)
		return venv__fail_nomem(err);
	r = work->provider->connect(&work->machine, &fd, err);
	if (r < 0)
		return r;
	target = (struct ssh_target){ .fd = fd,
				      .user = run->user ? run->user : work->login,
				      .alias = alias,
				      .key = key,
				      .host_key = host_key };
	return call_client(run->project->ctx, &target, &ssh, op, err);
}

static int run_work(struct venv_op *op, void *user, venv_error **err)
{
	struct run *run = user;
	_cleanup_work_ struct work work;
	int r = venv__work_open_running(run->project, run->machine, op, &work, err);

	if (r < 0)
		return r;
	r = run->over_ssh ? run_ssh(run, &work, op, err) : run_exec(run, &work, op, err);
	if (r < 0)
		return venv__error_set_machine(r, err, work.spec->name);
	venv__op_set_exit_status(op, r);
	return 0;
}

static int copy_text(char **ret, const char *text)
{
	*ret = text ? strdup(text) : NULL;
	return text && !*ret ? -ENOMEM : 0;
}

static int copy_list(char ***ret, const char *const *list)
{
	for (; list && *list; list++)
		if (venv__strv_add(ret, *list) < 0)
			return -ENOMEM;
	return 0;
}

static int start_run(struct venv_project *project, const char *machine,
		     const venv_run_options *options, bool over_ssh, struct venv_op **op,
		     venv_error **err)
{
	struct run *run = calloc(1, sizeof(*run));
	int r;

	if (!run)
		return venv__fail_nomem(err);
	*run = (struct run){ .project = project, .over_ssh = over_ssh, .o = VENV_RUN_OPTIONS_INIT };
	r = venv__options(&run->o, options, sizeof(run->o), err);
	if (r == 0 &&
	    (copy_text(&run->machine, machine) < 0 || copy_text(&run->user, run->o.user) < 0 ||
	     copy_text(&run->directory, run->o.directory) < 0 ||
	     copy_text(&run->term, run->o.term) < 0 || copy_list(&run->argv, run->o.argv) < 0 ||
	     copy_list(&run->env, run->o.env) < 0))
		r = venv__fail_nomem(err);
	if (r < 0) {
		run_free(run);
		return r;
	}
	return venv__op_start(project->ctx, run_work, run, run_free, op, err);
}

int venv_exec(venv_project *project, const char *machine, const venv_run_options *options,
	      venv_op **op, venv_error **err)
{
	return start_run(project, machine, options, false, op, err);
}

int venv_ssh(venv_project *project, const char *machine, const venv_run_options *options,
	     venv_op **op, venv_error **err)
{
	return start_run(project, machine, options, true, op, err);
}

/* ---- cp ------------------------------------------------------------------------------------ */

struct copy {
	struct venv_project *project;
	char *machine; /* NULL: the primary one */
	char *host, *guest;
	bool into;
};

static void copy_free(void *user)
{
	struct copy *copy = user;

	free(copy->machine);
	free(copy->host);
	free(copy->guest);
	free(copy);
}

/* Where the path leads by its text, from the root. */
static char *absolute(const char *path)
{
	_cleanup_free_ char *here = getcwd(NULL, 0);
	_cleanup_free_ char *joined = here ? venv__path_join(here, path) : NULL;

	return joined ? venv__path_clean(joined) : NULL;
}

/* A machine can write in the project: what it planted there must not lead out of it. fd or -errno */
static int open_host(const struct work *work, const char *path, int flags)
{
	_cleanup_free_ char *clean = absolute(path);
	const char *dir = work->project->spec->dir;
	int fd;

	if (!clean)
		return -ENOMEM;
	if (venv__path_below(clean, dir, NULL))
		return venv__open_inside(dir, clean, flags);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int cannot_open(int number, const char *what, const char *path, venv_error **err)
{
	int r;

	if (number != EXDEV)
		return venv__fail_errno(err, number, "cannot open %s'%s'", what, path);
	r = venv__fail(err, VENV_ERR_DENIED, "'%s' leads out of the project by a symbolic link",
		       path);
	return venv__hint(r, err, "name the file or directory itself");
}

static int copy_into(const struct copy *copy, struct work *work, struct venv_op *op,
		     venv_error **err)
{
	_cleanup_close_ int fd = open_host(work, copy->host, O_RDONLY | O_NONBLOCK);
	_cleanup_free_ char *path = absolute(copy->host);

	if (fd < 0)
		return cannot_open(-fd, "", copy->host, err);
	if (!path)
		return venv__fail_nomem(err);
	return venv__guest_put(work->provider, &work->machine, NULL, fd,
			       path[1] ? strrchr(path, '/') + 1 : "root", copy->guest, op, err);
}

/* A directory that is there takes what comes; else the last part of the path is its new name. */
static int open_destination(const struct work *work, const char *to, int *ret_fd, char **ret_name,
			    venv_error **err)
{
	_cleanup_free_ char *parent = NULL;
	const char *slash = strrchr(to, '/');
	int fd = open_host(work, to, O_RDONLY | O_DIRECTORY);

	if (fd == -EXDEV)
		return cannot_open(EXDEV, "", to, err);
	*ret_fd = fd;
	if (fd >= 0)
		return 0;
	parent = strndup(slash ? to : ".", slash > to ? (size_t)(slash - to) : 1);
	*ret_name = strdup(slash ? slash + 1 : to);
	if (!parent || !*ret_name)
		return venv__fail_nomem(err);
	*ret_fd = open_host(work, parent, O_RDONLY | O_DIRECTORY);
	return *ret_fd < 0 ? cannot_open(-*ret_fd, "the directory of ", to, err) : 0;
}

static int copy_out(const struct copy *copy, struct work *work, struct venv_op *op,
		    venv_error **err)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;
	int r = open_destination(work, copy->host, &fd, &name, err);

	return r < 0 ? r
		     : venv__guest_get(work->provider, &work->machine, NULL, copy->guest, fd, name,
				       op, err);
}

static int copy_work(struct venv_op *op, void *user, venv_error **err)
{
	struct copy *copy = user;
	_cleanup_work_ struct work work;
	int r = venv__work_open_running(copy->project, copy->machine, op, &work, err);

	if (r < 0)
		return r;
	venv__op_begin(op, work.spec->name, "copy", "copying %s",
		       copy->into ? copy->host : copy->guest);
	if (copy->into)
		r = copy_into(copy, &work, op, err);
	else
		r = copy_out(copy, &work, op, err);
	if (r < 0)
		return venv__error_set_machine(r, err, work.spec->name);
	venv__op_end(op, work.spec->name, "copy");
	return 0;
}

/* "web:/etc/x" and ":/etc/x" are in a machine; "./a:b" and "/a:b" are not. */
static bool in_machine(const char *path)
{
	size_t colon = strcspn(path, ":/");

	return path[colon] == ':';
}

int venv_copy(venv_project *project, const char *from, const char *to, venv_op **op,
	      venv_error **err)
{
	const char *guest = in_machine(from) ? from : to;
	struct copy *copy;

	if (in_machine(from) == in_machine(to)) {
		int r = venv__fail(err, VENV_ERR_INVALID,
				   "exactly one of the two paths must be in a "
				   "machine");

		return venv__hint(r, err,
				  "write it as MACHINE:PATH, or :PATH for the primary machine");
	}
	copy = calloc(1, sizeof(*copy));
	if (!copy)
		return venv__fail_nomem(err);
	copy->project = project;
	copy->into = guest == to;
	copy->host = strdup(copy->into ? from : to);
	copy->machine = *guest == ':' ? NULL : strndup(guest, strcspn(guest, ":"));
	guest = strchr(guest, ':') + 1;
	copy->guest = strdup(*guest ? guest : ".");
	if (!copy->host || !copy->guest) {
		copy_free(copy);
		return venv__fail_nomem(err);
	}
	return venv__op_start(project->ctx, copy_work, copy, copy_free, op, err);
}
