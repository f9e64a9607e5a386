/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines of rootfs boxes have our agent: the device that it is reached by, and venv-relay, which speaks to it
 * for ssh and for the slots (relay/relay.h).
 */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "alive.h"
#include "kvm.h"
#include "util/buf.h"
#include "util/process.h"

enum {
	GUEST_CID = 3,
	BACKLOG = 128,
	START_MS = 20000,
	CALL_MS = 60000,
	DIAL_MS = 180000,
	HELLO_TRIES = 500,
	HELLO_PAUSE_US = 10000,
};

/* relay_file: what venv-relay was started with, and the port that it has, for one that follows it */
static const char vsock[] = "vsock", relay_file[] = "agent.json", lock_file[] = "agent.lock";

/* ---- Start --------------------------------------------------------------------------------- */

static int open_listener(const struct machine *machine)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s",
		       machine->dir_fd, vsock);
	(void)unlinkat(machine->dir_fd, vsock, 0);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

int kvm_agent_order(const struct machine *machine, struct kvm_order *order, venv_error **err)
{
	int fd, number;

	(void)unlinkat(machine->dir_fd, relay_file, 0); /* until it has one again */
	fd = open_listener(machine);
	if (fd < 0)
		return venv__fail_errno(err, -fd, "cannot listen for the machine's agent");
	number = kvm_order_fd(order, fd, err);
	if (number < 0)
		return number;
	return kvm_order_device(order,
				json_pack("{s:s, s:i, s:i, s:i}", "kind", vsock, "slot",
					  (int)KVM_SLOT_VSOCK, "cid", GUEST_CID, "listener",
					  number),
				err);
}

static json_t *relay_config(const struct machine *machine)
{
	const struct machine_spec *spec = machine->spec;
	_cleanup_strv_ char **env = kvm_guest_environment(machine);
	json_t *config =
		json_pack("{s:s, s:s, s:s, s:o, s:b, s:b, s:i, s:s}", "op", "start", "machine",
			  machine->name, "login", machine->login ? machine->login : "root", "env",
			  venv__json_from_strv(env), "forward_agent", spec->ssh.forward_agent,
			  "ssh", faccessat(machine->dir_fd, "keys/host", R_OK, 0) == 0, "ssh_port",
			  (int)spec->ssh.port, "libexec", machine->ctx->libexec_dir);

	if (config && spec->ssh.extra_keys)
		(void)json_object_set_new(config, "extra_keys",
					  venv__json_from_strv(spec->ssh.extra_keys));
	return config;
}

static int spawn_relay(const struct machine *machine, int socket, venv_error **err)
{
	_cleanup_free_ char *path = venv__path_join(machine->ctx->libexec_dir, "venv-relay");
	_cleanup_close_ int log =
		openat(machine->dir_fd, "relay.log",
		       O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	char name[] = "venv-relay";
	char *argv[] = { name, NULL };
	struct spawn spawn = {
		.path = path, .argv = argv, .fds = { -1, -1, log, socket }, .n_fds = 4
	};

	return path ? venv__spawn(&spawn, NULL, NULL, err) : venv__fail_nomem(err);
}

/* port: where ssh shall be; sets where it is */
static int run_relay(const struct machine *machine, json_t *config, json_int_t port,
		     venv_error **err)
{
	_cleanup_json_ json_t *answer = NULL;
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], r;

	if (json_object_set_new(config, "ssh_port", json_integer(port)) < 0)
		return venv__fail_nomem(err);
	r = venv__msg_pair(pair);
	if (r < 0)
		return venv__fail_errno(err, -r, "cannot make a socket");
	ours = pair[0];
	theirs = pair[1];
	r = spawn_relay(machine, theirs, err);
	if (r < 0)
		return r;
	(void)close(take_fd(&theirs));
	r = venv__msg_call(ours, config, &machine->dir_fd, 1, START_MS, &answer, NULL, err);
	if (r == 0 && json_object_set(config, "has_port", json_object_get(answer, "ssh_port")) < 0)
		r = venv__fail_nomem(err);
	return r;
}

int kvm_agent_start(const struct machine *machine, venv_error **err)
{
	_cleanup_json_ json_t *config = relay_config(machine);
	int r;

	if (!config)
		return venv__fail_nomem(err);
	(void)json_object_set_new(config, "wanted_port", json_integer(machine->spec->ssh.port));
	r = run_relay(machine, config, machine->spec->ssh.port, err);
	return r < 0 ? r
		     : venv__json_write(machine->dir_fd, relay_file, config, WRITE_VOLATILE, err);
}

/* ---- Another one --------------------------------------------------------------------------- */

static bool is_absent(const venv_error *error)
{
	return error && (error->sys_errno == ENOENT || error->sys_errno == ECONNREFUSED);
}

/* ssh waits for the agent's first word; what it takes is given to one that runs already. */
static void wait_agent(const struct machine *machine)
{
	for (int i = 0; i < HELLO_TRIES; i++) {
		_cleanup_json_ json_t *state = NULL, *request = json_pack("{s:s}", "op", "state");
		_cleanup_close_ int fd = venv__msg_connect(machine->dir_fd, "relay", NULL);

		if (fd < 0 || !request ||
		    venv__msg_call(fd, request, NULL, 0, CALL_MS, &state, NULL, NULL) < 0 ||
		    venv__json_bool(state, "agent", false))
			return;
		(void)usleep(HELLO_PAUSE_US);
	}
}

/* As the last one was started, with the port that it had if it is free. */
static int start_again(const struct machine *machine, venv_error **err)
{
	_cleanup_json_ json_t *config = NULL;
	int r = venv__json_read(machine->dir_fd, relay_file, &config, err);
	json_int_t had, wanted;

	if (r < 0)
		return r;
	had = venv__json_int(config, "has_port", 0);
	wanted = venv__json_int(config, "wanted_port", 0);
	if (run_relay(machine, config, had, NULL) < 0) {
		r = run_relay(machine, config, wanted, err);
		if (r == 0)
			r = venv__json_write(machine->dir_fd, relay_file, config, WRITE_VOLATILE,
					     err);
	}
	if (r == 0)
		wait_agent(machine);
	return r;
}

/*
 * venv-relay died and its machine did not: the next command starts another one. Of several at once the first
 * does, which the others wait for.
 */
static int connect_again(const struct machine *machine, venv_error **err)
{
	_cleanup_close_ int lock =
		openat(machine->dir_fd, lock_file, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	_cleanup_error_ venv_error *problem = NULL;
	int fd, r = lock < 0 ? -errno : venv__lock_wait(lock, true);

	if (r < 0)
		return venv__fail_errno(err, -r, "cannot lock '%s'", lock_file);
	fd = venv__msg_connect(machine->dir_fd, "relay", &problem);
	if (fd >= 0 || !is_absent(problem))
		return fd >= 0 ? fd : venv__error_take(take_ptr(problem), err);
	r = start_again(machine, err);
	if (r < 0)
		return venv__wrap(r, err, "venv-relay died and cannot be started again");
	return venv__msg_connect(machine->dir_fd, "relay", err);
}

/* ---- Slots --------------------------------------------------------------------------------- */

static int connect_relay(const struct machine *machine, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int fd = venv__msg_connect(machine->dir_fd, "relay", &problem);

	if (fd >= 0)
		return fd;
	if (is_absent(problem) && kvm_state(machine, NULL) == MACHINE_RUNNING &&
	    faccessat(machine->dir_fd, relay_file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return connect_again(machine, err);
	if (is_absent(problem))
		return venv__hint(venv__fail(err, VENV_ERR_STATE, "the machine is not reached"),
				  err,
				  "is it running? 'venv status' tells; 'venv reload' starts it "
				  "again");
	return venv__error_take(take_ptr(problem), err);
}

static int call(const struct machine *machine, json_t *request, int timeout_ms, json_t **ret,
		int *ret_fd, venv_error **err)
{
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT;
	_cleanup_json_ json_t *owned = request;
	_cleanup_close_ int relay = -1;
	int r;

	if (!owned)
		return venv__fail_nomem(err);
	relay = connect_relay(machine, err);
	if (relay < 0)
		return relay;
	r = venv__msg_call(relay, owned, NULL, 0, timeout_ms, ret, &fds, err);
	if (r < 0 || !ret_fd)
		return r;
	*ret_fd = venv__msg_fds_take(&fds, 0);
	return *ret_fd < 0 ? venv__fail(err, VENV_ERR_SYSTEM, "venv-relay gave no connection") : 0;
}

/* Somebody starts venv-relay again, or did: a new one may be there before it has heard of the agent. */
static bool was_again(const struct machine *machine)
{
	_cleanup_close_ int lock =
		openat(machine->dir_fd, lock_file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	return lock >= 0 && venv__lock_wait(lock, true) == 0;
}

int kvm_agent_connect(const struct machine *machine, int *ret_fd, venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = call(machine, json_pack("{s:s}", "op", "ssh"), CALL_MS, NULL, ret_fd, &problem);

	if (r == VENV_ERR_STATE && was_again(machine))
		return call(machine, json_pack("{s:s}", "op", "ssh"), CALL_MS, NULL, ret_fd, err);
	return r < 0 ? venv__error_take(take_ptr(problem), err) : r;
}

int kvm_agent_exec(struct machine *machine, const struct exec_spec *spec, struct exec_handle *ret,
		   venv_error **err)
{
	int relay;

	if (!machine->from_rootfs)
		return VENV_ERR_UNSUPPORTED;
	relay = connect_relay(machine, err);
	return relay < 0 ? relay : venv__alive_exec(relay, spec, ret, err);
}

int kvm_agent_dial(const struct machine *machine, const char *host, uint16_t port, int *ret_fd,
		   venv_error **err)
{
	_cleanup_error_ venv_error *problem = NULL;
	int r = call(machine,
		     json_pack("{s:s, s:s, s:i}", "op", "dial", "host", host, "port", (int)port),
		     DIAL_MS, NULL, ret_fd, &problem);

	if (r < 0 && r != VENV_ERR_STATE)
		return venv__fail(err, VENV_ERR_NETWORK, "%s", venv_error_message(problem));
	return r < 0 ? venv__error_take(take_ptr(problem), err) : 0;
}

void kvm_agent_info(const struct machine *machine, json_t *info)
{
	_cleanup_json_ json_t *state = NULL, *request = json_pack("{s:s}", "op", "state");
	/* a question starts nothing */
	_cleanup_close_ int fd = venv__msg_connect(machine->dir_fd, "relay", NULL);

	if (fd >= 0 && request &&
	    venv__msg_call(fd, request, NULL, 0, CALL_MS, &state, NULL, NULL) == 0 &&
	    json_object_get(state, "ssh_port"))
		(void)json_object_set(info, "ssh_port", json_object_get(state, "ssh_port"));
}

/* A clock that stood still goes on where it was. */
void kvm_agent_wake(const struct machine *machine)
{
	(void)call(machine, json_pack("{s:s}", "op", "time"), CALL_MS, NULL, NULL, NULL);
}
