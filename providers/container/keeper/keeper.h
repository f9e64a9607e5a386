/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-keeper: runs one machine for its whole life.
 *
 * Theory of operation: a single thread and an event loop. It holds the lock "alive" of the
 * machine's directory (held means running; the file's text says what, see record.c), the
 * machine's control groups, the connection to netd, the console's terminal, the listener of ssh,
 * and process 1 of the machine by pidfd. That process dies with the keeper, and with it
 * everything inside. Each connection to its socket is a struct client; one that asked for "exec"
 * lives as long as its command.
 *
 *   starting -> running <-> paused, frozen (out of memory) -> stopping -> gone (the keeper ends)
 *
 * Once its machine runs it gives up what neither it nor the machine needs (confine.c).
 *
 * reboot(2) inside ends process 1 with SIGHUP (restart: everything is set up again from the plan)
 * or SIGINT (power off).
 */
#ifndef VENV_KEEPER_H
#define VENV_KEEPER_H

#include <signal.h>

#include "../protocol.h"
#include "../setup/secure.h"
#include "cgroup/cgroup.h"
#include "plan.h"
#include "ssh/wire/door.h"
#include "util/loop.h"
#include "util/peer.h"
#include "util/serve.h"

enum keeper_state {
	KEEPER_STARTING,
	KEEPER_RUNNING,
	KEEPER_PAUSED,
	KEEPER_FROZEN,
	KEEPER_STOPPING
};

struct keeper;

struct client { /* a connection to the keeper, or a command without one */
	struct client *next;
	struct keeper *keeper;
	int fd; /* -1: the image's own command */
	struct loop_source *source;
	pid_t pid;   /* of its command; 0: none */
	int master;  /* terminal of the command, or -1 */
	bool waits;  /* for the machine's end */
	bool dead;   /* closed while its command still runs */
	char *agent; /* path in the machine of its agent socket, which goes with it; or NULL */
	/* The number of its venv-sess, which is answered only what a session needs; 0: none. */
	unsigned session;
	bool first; /* the connection that its venv-sess was started with */
};

struct keeper {
	struct loop *loop;
	struct plan plan;
	int starter_fd, machine_fd, alive_fd, plan_fd, log_fd;
	int net_fd, userns_fd, netns_fd;
	enum keeper_state state;
	int64_t started;
	json_t *missing_users; /* owners of folders that are not there yet; until it is told */
	struct cgroup cgroup;
	struct filter filter;
	int64_t oom_kills;

	pid_t init_pid;
	int init_pidfd, devpts_fd, machine_netns_fd;
	/* Held so that unmounting, which waits for the kernel's grace periods, does not keep those
	 * waiting who ask for the machine's end; let go after they were answered. */
	int machine_mntns_fd;
	int console_fd, console_log_fd;
	struct loop_source *console_source;
	struct peer console_peer;       /* who is attached, across restarts */
	struct loop_source *stop_timer; /* while the machine is asked to stop */
	int stop_signal;                /* what asks process 1 */
	bool confined;
	bool restarts;   /* the machine rebooted itself */
	int init_status; /* of waitid, when it ended */

	int ctl_fd;
	struct door *door; /* the way in by ssh, or NULL */
	struct client *clients;
	int command_status; /* the image's command, as wait(2) says; -1: runs, or is none */
};

/* machine.c: set everything up, up to process 1 running. Undone by keeper_machine_gone(). */
int keeper_machine_start(struct keeper *keeper, venv_error **err);
/* After process 1 is reaped: console to its end, groups, namespaces. */
void keeper_machine_gone(struct keeper *keeper);
/* Let its mounts go; before the lock, or the next start would find the upper directory in use. */
void keeper_machine_unmount(struct keeper *keeper);
/* trees.c: mounts of the folders for a machine of root's, shifted to their owners */
int keeper_trees_make(const struct plan *plan, const int64_t (*owners)[2], int *ret,
		      venv_error **err);

/* lifecycle.c */
void keeper_stop(struct keeper *keeper, int signal_number, unsigned timeout_ms);
void keeper_kill(struct keeper *keeper);
int keeper_pause(struct keeper *keeper, bool pause, venv_error **err);
void keeper_reap(struct keeper *keeper);
void keeper_watch_oom(struct keeper *keeper);

/* confine.c: after the first start; for good, and for all that is started later */
int keeper_confine(const struct keeper *keeper, venv_error **err);

/* record.c: what the "alive" file says */
int keeper_record_lock(struct keeper *keeper, venv_error **err);
void keeper_record_write(const struct keeper *keeper);
json_t *keeper_record_json(const struct keeper *keeper);
const char *keeper_state_name(enum keeper_state state);

/* console.c */
int keeper_console_open(struct keeper *keeper, venv_error **err);
void keeper_console_attach(struct keeper *keeper, int master_fd);
void keeper_console_detach(struct keeper *keeper);
/* A stream socket of somebody who sees and types, or a code */
int keeper_console_connect(struct keeper *keeper, venv_error **err);
void keeper_console_say(struct keeper *keeper, const char *format, ...) _printf_(2, 3);

/* control.c */
int keeper_control_open(struct keeper *keeper, venv_error **err);
struct client *keeper_client_add(struct keeper *keeper, int fd);
void keeper_client_close(struct client *client);
void keeper_client_reply(struct client *client, json_t *reply, const int *fds, size_t n_fds);
void keeper_client_fail(struct client *client, const venv_error *error);
/* Answer those who wait for the end. */
void keeper_control_end(struct keeper *keeper);

/* exec.c */
void keeper_exec(struct client *client, const json_t *request, struct msg_fds *fds);
void keeper_exec_message(struct client *client, const json_t *message);
/* The command of a client ended: tell it. */
void keeper_exec_ended(struct client *client, int status);
void keeper_exec_hangup(struct client *client);
int keeper_command_start(struct keeper *keeper, venv_error **err);
/* Ask the image's command to end, by its own signal. @return false when there is none that runs */
bool keeper_command_stop(struct keeper *keeper);
/* Shells ignore a request to end, but go with their terminal. */
void keeper_hang_up(struct keeper *keeper);

struct entry { /* one program of ours to be started inside */
	char *const *argv;
	char *const *envp;
	int fds[3];
	int socket; /* becomes descriptor 3, or -1 */
	bool tty;
	unsigned rows, columns;
};
/* enter.c: start venv-enter in the machine. @return its pid, a child of ours */
int keeper_enter(struct keeper *keeper, const struct entry *entry, int *ret_master,
		 venv_error **err);

/* dial.c */
void keeper_dial(struct client *client, const json_t *request);
void keeper_listen(struct client *client, const json_t *request);
/* Take the agent socket of a client that closes out of the machine. */
void keeper_agent_end(struct client *client);

/* ssh.c */
int keeper_ssh_open(struct keeper *keeper, venv_error **err);
void keeper_ssh_request(struct client *client);
/* Who is behind this venv-sess has logged in, or is gone. */
void keeper_ssh_settle(const struct client *client);

#endif
