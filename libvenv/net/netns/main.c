/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-netns: owns the user and network namespace of a project.
 *
 * Theory of operation: a child of venv-netd, which asks one thing after another over the socket on
 * descriptor 3; it handles no packet of a guest. It has every capability over the project's namespace
 * and those of the machines (their user namespaces are children of the project's), and none over the
 * host. Once the namespaces are set up it gives up all of them that its requests do not need, files but
 * for the TAP's device, and most system calls (confine.c). It ends with netd: by EOF, and by the
 * parent-death signal should it hang. The namespaces live on as long as a machine holds them; `adopt`
 * enters them again, and devices are found by their names.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "netns.h"
#include "nft.h"

enum { CONTROL_FD = 3 };

static int op_close(const json_t *request, venv_error **err)
{
	_cleanup_ranges_ struct ranges closed = { 0 };
	int r;

	if (!venv__ranges_from_json(json_object_get(request, "closed"), &closed))
		return venv__fail(err, VENV_ERR_INVALID, "bad list of addresses");
	r = venv__nft_close(&closed);
	return r < 0 ? venv__fail_errno(err, -r, "cannot change the packet filter") : 0;
}

static int dispatch(struct netns *netns, const json_t *request, struct msg_fds *fds,
		    struct msg_fds *ret_fds, venv_error **err)
{
	const char *op = venv__json_str(request, "op");

	if (!op)
		return venv__fail(err, VENV_ERR_INVALID, "a request without an operation");
	if (strcmp(op, "socket") == 0)
		return venv__netns_socket(netns, request, ret_fds, err);
	if (strcmp(op, "network") == 0)
		return venv__netns_network(netns, request, ret_fds, err);
	if (strcmp(op, "plug") == 0)
		return venv__netns_plug(netns, request, venv__msg_fds_take(fds, 0), err);
	if (strcmp(op, "unplug") == 0)
		return venv__netns_unplug(netns, request, err);
	if (strcmp(op, "tap") == 0)
		return venv__netns_tap(netns, request, ret_fds, err);
	if (strcmp(op, "sync") == 0)
		return 0;
	if (strcmp(op, "close") == 0)
		return op_close(request, err);
	return venv__fail(err, VENV_ERR_UNSUPPORTED, "unknown operation '%s'", op);
}

/* 1, 0 at the end, or a negative code */
static int serve_one(struct netns *netns)
{
	_cleanup_json_ json_t *request = NULL, *reply = NULL;
	_cleanup_msg_fds_ struct msg_fds fds = MSG_FDS_INIT, ret_fds = MSG_FDS_INIT;
	_cleanup_error_ venv_error *err = NULL;
	int r;

	r = venv__msg_receive(netns->control, -1, &request, &fds, &err);
	if (r <= 0)
		return r;
	r = dispatch(netns, request, &fds, &ret_fds, &err);
	if (r < 0) {
		(void)fprintf(stderr, "venv-netns: %s\n", venv_error_message(err));
		r = venv__msg_send_error(netns->control, err);
		return r < 0 ? r : 1;
	}
	reply = json_object();
	r = venv__msg_send(netns->control, reply, ret_fds.fd, ret_fds.count, &err);
	return r < 0 ? r : 1;
}

int main(int argc, char **argv)
{
	struct netns netns = { .control = CONTROL_FD, .own_fd = -1 };
	_cleanup_error_ venv_error *err = NULL;
	int r;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	(void)fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
	r = venv__netns_setup(&netns, argc > 1 && strcmp(argv[1], "adopt") == 0, &err);
	if (r < 0) {
		(void)fprintf(stderr, "venv-netns: %s\n", venv_error_message(err));
		(void)venv__msg_send_error(netns.control, err);
		return 1;
	}
	do
		r = serve_one(&netns);
	while (r > 0);
	_exit(r < 0); /* a leak checker could not look from in here */
}
