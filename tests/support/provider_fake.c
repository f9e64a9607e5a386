/* SPDX-License-Identifier: Apache-2.0 */
#include "provider_fake.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "provider.h"
#include "util/msg.h"
#include "util/process.h"
#include "util/sys.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char failing[32];
static int failures;
static char calls[4096];
static unsigned delay_ms;
static uint64_t fake_memory;

void fake_fail(const char *slot, int times)
{
	(void)snprintf(failing, sizeof(failing), "%s", slot ? slot : "");
	failures = times;
}

const char *fake_calls(void)
{
	static char copy[sizeof(calls)];

	(void)pthread_mutex_lock(&lock);
	memcpy(copy, calls, sizeof(copy));
	calls[0] = '\0';
	(void)pthread_mutex_unlock(&lock);
	return copy;
}

uint64_t fake_went_on_with(void)
{
	return fake_memory;
}

static bool ends_when_seen;

void fake_ends_when_seen(void)
{
	ends_when_seen = true;
}

void fake_delay_ms(unsigned ms)
{
	delay_ms = ms;
}

/* Note the call; a negative code when it is to fail. */
static int called(const char *slot, const char *machine, venv_error **err)
{
	size_t n;
	int r = 0;

	(void)pthread_mutex_lock(&lock);
	n = strlen(calls);
	(void)snprintf(calls + n, sizeof(calls) - n, "%s%s:%s", n ? " " : "", machine, slot);
	if (strcmp(failing, slot) == 0 && failures != 0) {
		failures -= failures > 0;
		r = venv__fail(err, VENV_ERR_HOST, "the fake provider failed at %s", slot);
	}
	(void)pthread_mutex_unlock(&lock);
	return r;
}

static int probe(struct venv *ctx, const struct machine_spec *spec, struct verdict *ret,
		 venv_error **err)
{
	(void)ctx;
	ret->accept = true;
	return called("probe", spec->name, err);
}

static int create(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = called("create", machine->name, err);

	(void)op;
	return r < 0 ? r
		     : venv__file_write(machine->dir_fd, "made", "", 0, 0600, WRITE_VOLATILE, err);
}

static int destroy(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return called("destroy", machine->name, err);
}

static int start(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = called("start", machine->name, err);

	(void)op;
	if (delay_ms)
		(void)usleep(delay_ms * 1000);
	if (r < 0)
		return r;
	if (renameat(machine->dir_fd, "suspended", machine->dir_fd, "running") == 0) {
		fake_memory = machine->spec->memory;
		return 0;
	}
	return venv__file_write(machine->dir_fd, "running", "", 0, 0600, WRITE_VOLATILE, err);
}

/* A suspended machine is a file as well; what it did is in "running". */
static int suspend(struct machine *machine, struct venv_op *op, venv_error **err)
{
	int r = called("suspend", machine->name, err);

	(void)op;
	if (r < 0)
		return r;
	(void)unlinkat(machine->dir_fd, "paused", 0);
	if (renameat(machine->dir_fd, "running", machine->dir_fd, "suspended") < 0)
		return venv__fail_errno(err, errno, "cannot suspend");
	return 0;
}

static void copy(int from_fd, const char *from, int to_fd, const char *to)
{
	_cleanup_free_ char *text = NULL;

	(void)unlinkat(to_fd, to, 0);
	if (venv__file_read(from_fd, from, 4096, &text, NULL, NULL) == 0)
		(void)venv__file_write(to_fd, to, text, strlen(text), 0600, WRITE_VOLATILE, NULL);
}

/* The disk is "disk", memory is "suspended". */
static int snapshot(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err)
{
	int r = called("snapshot", machine->name, err);

	(void)op;
	copy(machine->dir_fd, "disk", dir_fd, "disk");
	copy(machine->dir_fd, "running", dir_fd, "suspended");
	if (faccessat(machine->dir_fd, "suspended", F_OK, 0) == 0)
		copy(machine->dir_fd, "suspended", dir_fd, "suspended");
	return r;
}

static int restore(struct machine *machine, int dir_fd, struct venv_op *op, venv_error **err)
{
	int r = called("restore", machine->name, err);

	(void)op;
	if (r < 0)
		return r;
	(void)unlinkat(machine->dir_fd, "paused", 0);
	(void)unlinkat(machine->dir_fd, "running", 0);
	copy(dir_fd, "disk", machine->dir_fd, "disk");
	copy(dir_fd, "suspended", machine->dir_fd, "suspended");
	return 0;
}

static int stop(struct machine *machine, enum stop_how how, struct venv_op *op, venv_error **err)
{
	int r = called(how == STOP_KILL ? "kill" : "stop", machine->name, err);

	(void)op;
	if (r == 0) {
		(void)unlinkat(machine->dir_fd, "running", 0);
		(void)unlinkat(machine->dir_fd, "alive", 0);
		(void)unlinkat(machine->dir_fd, "suspended", 0);
	}
	return r;
}

static int observe(struct machine *machine, enum machine_state *ret, venv_error **err)
{
	(void)err;
	*ret = faccessat(machine->dir_fd, "made", F_OK, 0) == 0 ? MACHINE_STOPPED : MACHINE_ABSENT;
	if (faccessat(machine->dir_fd, "suspended", F_OK, 0) == 0)
		*ret = MACHINE_SUSPENDED;
	if (faccessat(machine->dir_fd, "alive", F_OK, 0) == 0)
		*ret = MACHINE_CRASHED;
	else if (faccessat(machine->dir_fd, "running", F_OK, 0) == 0)
		*ret = faccessat(machine->dir_fd, "paused", F_OK, 0) == 0 ? MACHINE_PAUSED
									  : MACHINE_RUNNING;
	if (ends_when_seen && *ret == MACHINE_RUNNING) {
		(void)unlinkat(machine->dir_fd, "running", 0);
		ends_when_seen = false;
	}
	return 0;
}

static int pause_it(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	return venv__file_write(machine->dir_fd, "paused", "", 0, 0600, WRITE_VOLATILE, err);
}

static int resume(struct machine *machine, struct venv_op *op, venv_error **err)
{
	(void)op;
	(void)err;
	return unlinkat(machine->dir_fd, "paused", 0) < 0 ? VENV_ERR_STATE : 0;
}

static int connect_it(struct machine *machine, int *ret_fd, venv_error **err)
{
	(void)machine;
	(void)ret_fd;
	return venv__fail(err, VENV_ERR_UNSUPPORTED, "no ssh");
}

/* The command itself. */
static _Noreturn void run_command(const struct exec_spec *spec)
{
	for (int i = 0; i < 3; i++) {
		int fd = spec->fds[i] >= 0 ? spec->fds[i] : open("/dev/null", O_RDWR);

		(void)dup2(fd, i);
	}
	for (char *const *e = spec->env; e && *e; e++)
		(void)putenv(*e);
	(void)execvp(spec->argv[0], spec->argv);
	_exit(127);
}

/* Pass signals on until the command ends; it dies with its connection. */
static void watch(pid_t pid, int control)
{
	struct pollfd fds[] = { { .fd = control, .events = POLLIN },
				{ .fd = venv__pidfd_open(pid), .events = POLLIN } };

	while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
		_cleanup_json_ json_t *message = NULL;
		int r = venv__msg_receive(control, 0, &message, NULL, NULL);

		(void)kill(pid, r > 0 ? (int)venv__json_int(message, "signal", 0) : SIGKILL);
		if (r <= 0)
			return;
	}
}

/* A process that runs the command, waits for it and tells how it ended. */
static _Noreturn void serve(const struct exec_spec *spec, int control)
{
	_cleanup_json_ json_t *message = NULL;
	pid_t pid = fork();
	int status = 0;

	if (pid == 0)
		run_command(spec);
	for (int i = 0; i < 3; i++)
		if (spec->fds[i] > 2)
			(void)close(spec->fds[i]);
	watch(pid, control);
	(void)waitpid(pid, &status, 0);
	message = WIFSIGNALED(status) ? json_pack("{s:i}", "signal", WTERMSIG(status))
				      : json_pack("{s:i}", "exit", WEXITSTATUS(status));
	(void)venv__msg_send(control, message, NULL, 0, NULL);
	_exit(0);
}

static int exec(struct machine *machine, const struct exec_spec *spec, struct exec_handle *ret,
		venv_error **err)
{
	int pair[2], r = called("exec", machine->name, err);
	pid_t pid;

	if (r < 0)
		return r;
	if (venv__msg_pair(pair) < 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "no socket");
	pid = fork();
	if (pid == 0) {
		(void)close(pair[0]);
		if (fork() == 0)
			serve(spec, pair[1]);
		_exit(0);
	}
	(void)waitpid(pid, NULL, 0);
	(void)close(pair[1]);
	*ret = (struct exec_handle){ .control = pair[0], .tty = -1 };
	return 0;
}

const struct provider container_provider = {
	.name = "container",
	.probe = probe,
	.create = create,
	.destroy = destroy,
	.start = start,
	.stop = stop,
	.observe = observe,
	.connect = connect_it,
	.exec = exec,
	.pause = pause_it,
	.resume = resume,
	.suspend = suspend,
	.snapshot = snapshot,
	.restore = restore,
};

/* ---- Reached by ssh alone ------------------------------------------------------------------ */

static enum ssh_fault ssh_fault;
static int ssh_faults;
static unsigned ssh_tries;
static const char *console_text;

void fake_ssh(enum ssh_fault fault, int times)
{
	ssh_fault = fault;
	ssh_faults = times;
}

void fake_console(const char *text)
{
	console_text = text;
}

unsigned fake_ssh_tries(void)
{
	unsigned tries = ssh_tries;

	ssh_tries = 0;
	return tries;
}

static enum ssh_fault next_fault(void)
{
	ssh_tries++;
	if (ssh_fault == SSH_GOOD || ssh_faults == 0)
		return SSH_GOOD;
	ssh_faults -= ssh_faults > 0;
	return ssh_fault;
}

/* One connection's server. As root it wants a directory of its own in /run. */
static int run_sshd(const struct machine *machine, enum ssh_fault fault, int socket,
		    venv_error **err)
{
	static const char text[] =
		"test $(id -u) = 0 && { mount -t tmpfs none /run && mkdir /run/sshd || exit 1; }\n"
		"exec /usr/sbin/sshd -i -f /dev/null -h \"$1\" -o PidFile=none -o UsePAM=no "
		"-o StrictModes=no -o \"AuthorizedKeysFile=$2\" -o PasswordAuthentication=no "
		"-o 'Subsystem=sftp internal-sftp' -o AllowTcpForwarding=yes";
	_cleanup_free_ char *host_key = NULL, *authorized = NULL;
	char unshare_[] = "unshare", mount_[] = "-m", shell[] = "sh", flag[] = "-c", name[] = "sh";
	char *argv[] = { unshare_, mount_, shell, flag, (char *)(uintptr_t)text,
			 name,     NULL,   NULL,  NULL };
	struct spawn spawn = { .path = "/usr/bin/unshare",
			       .program_fd = -1,
			       .argv = argv,
			       .fds = { socket, socket, -1 },
			       .n_fds = 3 };

	if (asprintf(&host_key, "%s/keys/%s", machine->dir,
		     fault == SSH_HOST_KEY ? "user" : "host") < 0 ||
	    asprintf(&authorized, "%s/keys/%s", machine->dir,
		     fault == SSH_NO_KEY ? "none" : "authorized") < 0)
		return venv__fail_nomem(err);
	argv[6] = host_key;
	argv[7] = authorized;
	return venv__spawn(&spawn, NULL, NULL, err);
}

/* As a process that ended leaves it: nobody holds its lock. */
static void leave_record(const struct machine *machine, bool told)
{
	static const char crashed[] = "{\"state\":\"crashed\",\"reason\":\"a triple fault\"}\n",
			  running[] = "{\"state\":\"running\"}\n";
	const char *text = told ? crashed : running;

	(void)venv__file_write(machine->dir_fd, "alive", text, strlen(text), 0600, WRITE_VOLATILE,
			       NULL);
}

static int connect_ssh(struct machine *machine, int *ret_fd, venv_error **err)
{
	enum ssh_fault fault = next_fault();
	int pair[2], r = 0;

	if (fault == SSH_CRASHES || fault == SSH_KILLED)
		leave_record(machine, fault == SSH_CRASHES);
	if (fault == SSH_ENDS)
		(void)unlinkat(machine->dir_fd, "running", 0);
	if (fault == SSH_CLOSED || fault >= SSH_ENDS)
		return venv__fail(err, VENV_ERR_NETWORK, "nobody answers");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "no socket");
	if (fault != SSH_MUTE)
		r = run_sshd(machine, fault, pair[1], err);
	(void)close(pair[1]);
	if (r < 0)
		(void)close(pair[0]);
	else
		*ret_fd = pair[0];
	return r;
}

/* Of the one machine that has a network: what its process would keep. */
static int attached = -1;

static void keep_network(const struct machine *machine)
{
	if (attached >= 0)
		(void)close(attached);
	attached = machine->net && machine->net->socket >= 0
			   ? fcntl(machine->net->socket, F_DUPFD_CLOEXEC, 3)
			   : -1;
}

static int stop_ssh(struct machine *machine, enum stop_how how, struct venv_op *op,
		    venv_error **err)
{
	if (attached >= 0)
		(void)close(take_fd(&attached));
	return stop(machine, how, op, err);
}

static int start_ssh(struct machine *machine, struct venv_op *op, venv_error **err)
{
	_cleanup_close_ int log = openat(machine->dir_fd, "console.log",
					 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (console_text && venv__write_all(log, console_text, strlen(console_text)) < 0)
		return venv__fail(err, VENV_ERR_SYSTEM, "no console");
	keep_network(machine);
	return start(machine, op, err);
}

const struct provider kvm_provider = {
	.name = "kvm",
	.probe = probe,
	.create = create,
	.destroy = destroy,
	.start = start_ssh,
	.stop = stop_ssh,
	.observe = observe,
	.connect = connect_ssh,
	.pause = pause_it,
	.resume = resume,
};
