/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venv-guest: /init in the initramfs of a virtual machine made of a rootfs box (protocol.h).
 *
 * Theory of operation: init.c makes the system from the words of /config (modules, the root disk, which
 * becomes "/", network, files, folders), and forks the agent. Then it becomes the image's systemd, or stays
 * process 1 itself (service.c): it reaps, runs the image's command, and ends the machine in order. The
 * agent (agent.c) accepts connections of the host's and forks for each; that process serves one request
 * and ends. An agent that was killed is started again (watch.c) by process 1, or beside systemd, which knows
 * nothing of it, by a process of its own. The power button is the agent's as well, since images without systemd know none: it asks
 * process 1 by a signal. Whatever fails on the way up is said on the console, and the machine is
 * switched off: nobody is there to repair it.
 */
#ifndef VENV_KVM_GUEST_H
#define VENV_KVM_GUEST_H

#include <sys/types.h>
#include <time.h>

#include "frame.h"

struct guest_watch {          /* in milliseconds */
	int64_t started, due; /* the agent, and when it is started again */
	int delay;
};

struct guest {
	struct words config;
	int enter_fd; /* the program venv-enter */
	bool systemd;
	int listener; /* the agent's, kept for the next one */
	pid_t agent;  /* 0: it does not run */
	struct guest_watch watch;
};

/* init.c. What it says goes to the console: "venv: …". */
void guest_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say it with the text of errno (0: without), and switch the machine off. */
_Noreturn void guest_die(int number, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void guest_power(int how); /* RB_POWER_OFF… after a sync */

/* modules.c */
void guest_modules_load(const struct guest *guest, int root_fd);

/* disk.c: the root disk becomes "/", the initramfs is emptied */
void guest_disk_enter(const struct guest *guest);
/* Of the files in /sys/block: is this disk called so? For tests. */
bool guest_disk_find(int block_fd, const char *serial, char *ret, size_t size);

/* network.c */
struct guest_net {
	char mac[18], address[16], gateway[16], name[16];
	unsigned prefix, mtu;
};
bool guest_net_parse(const char *text, struct guest_net *ret);
void guest_network_make(const struct guest *guest);

/* files.c: in the new root */
void guest_files_write(const struct guest *guest, int root_fd);
void guest_folders_mount(const struct guest *guest);
bool guest_folder_parse(const char *text, char tag[37], bool *ret_read_only, const char **ret_path);

/* service.c: stay process 1 */
_Noreturn void guest_service_run(struct guest *guest);

/* agent.c */
int guest_agent_listen(void); /* descriptor or -errno */
/* Does not return in the agent. Its pid or -errno */
pid_t guest_agent_start(const struct guest *guest);
void guest_agent_protect(void); /* this process, when memory is short */
/* One connection, to its end. @return the exit status of its process */
int guest_agent_serve(const struct guest *guest, int fd);
void guest_agent_ok(struct agent_stream *stream, const struct words_out *more);
void guest_agent_fail(struct agent_stream *stream, int number, const char *what);
int guest_agent_send(struct agent_stream *stream); /* wait until all is gone; 0 or -errno */

/* watch.c: the agent is started again when it ended */
void guest_watch_start(struct guest *guest); /* if it does not run and it is time */
void guest_watch_ended(struct guest *guest); /* it was reaped */
/* How long until it is to be started; false: it runs. */
bool guest_watch_wait(const struct guest *guest, struct timespec *ret);
/* A process that does all this. Its pid or -errno */
pid_t guest_watch_fork(struct guest *guest);
/* When shall one that ended now be started again? For tests. */
void guest_watch_plan(struct guest_watch *watch, int64_t now);

/* exec.c */
int guest_exec(const struct guest *guest, struct agent_stream *stream, const struct words *request);
/*
 * Start venv-enter; fds become 0, 1, 2 (-1: /dev/null), socket (unless -1) descriptor 3, with tty fds[0] is
 * the terminal. @return its pid or -errno
 */
pid_t guest_enter(const struct guest *guest, char *const *argv, char *const *env, const int fds[3],
		  int socket, bool tty);
/* argv of venv-enter for a request, env for it: arrays whose texts are the request's. NULL: no memory */
char **guest_enter_arguments(const struct guest *guest, const struct words *request);
char **guest_enter_environment(const struct guest *guest, const struct words *request);

/* sockets.c */
int guest_dial(const struct guest *guest, struct agent_stream *stream, const struct words *request);
int guest_listen(const struct guest *guest, struct agent_stream *stream,
		 const struct words *request);
int guest_accept(const struct guest *guest, struct agent_stream *stream,
		 const struct words *request);

/* button.c: open the power button of ACPI; -1: there is none. Was it pressed? */
int guest_button_open(void);
bool guest_button_pressed(int fd);
/* Ask process 1 to end the machine. */
void guest_shut_down(const struct guest *guest);

#endif
