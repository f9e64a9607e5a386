/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process 1 of a machine whose image brings no systemd: reaps, runs the image's command with the console as
 * its output, and ends the machine in order.
 *
 * Theory of operation: all signals are blocked and taken one by one. SIGPWR and SIGUSR2 switch off, SIGTERM
 * and SIGINT restart (as busybox's poweroff and reboot ask it, and ctrl-alt-del). To end: the agent goes, so
 * that nobody comes in any more; the command is asked by its own signal; then all are asked by SIGTERM,
 * and killed when their time is over. Every process is in the end a child of ours, so nobody is left when
 * there are no children.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest.h"
#include "util/cleanup.h"

enum { STEP_MS = 50, STOP_MS = 60000, STOP_MIN_MS = 1000 };

struct service {
	struct guest *guest;
	pid_t command; /* 0: none, or it ended */
	sigset_t all;
};

static void tell_status(int status)
{
	_cleanup_close_ int fd = -1;

	(void)mkdir("/run/venv", 0755);
	fd = open("/run/venv/command-status", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		  0644);
	if (fd >= 0)
		(void)dprintf(fd, "%d\n", status);
}

/* @return false: there are no children any more */
static bool reap(struct service *service)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == service->guest->agent)
			guest_watch_ended(service->guest);
		if (pid != service->command)
			continue;
		service->command = 0;
		tell_status(status);
	}
	return pid == 0 || errno != ECHILD;
}

/* Until no child (of ours: the command) is left, or the time is over. */
static void wait_for(struct service *service, bool command, long ms)
{
	struct timespec step = { 0, STEP_MS * 1000000L };

	for (long waited = 0; waited < ms; waited += STEP_MS) {
		bool some = reap(service);

		if (command ? !service->command : !some)
			return;
		(void)sigtimedwait(&service->all, NULL, &step); /* SIGCHLD ends the wait */
	}
}

static _Noreturn void end(struct service *service, int how)
{
	const struct words *config = &service->guest->config;
	long ms = words_number(config, "stop_ms", 24L * 3600 * 1000, STOP_MS);

	/* the host's patience is as long: be done before */
	ms = ms * 7 / 8 < STOP_MIN_MS ? STOP_MIN_MS : ms * 7 / 8;
	(void)close(service->guest->listener);
	if (service->guest->agent > 0)
		(void)kill(service->guest->agent, SIGKILL);
	service->guest->agent = 0; /* and it stays away */
	if (service->command) {
		(void)kill(service->command,
			   (int)words_number(config, "command_signal", 64, SIGTERM));
		wait_for(service, true, ms / 2);
	}
	(void)kill(-1, SIGTERM);
	(void)kill(-1, SIGCONT);
	wait_for(service, false, ms / 2);
	(void)kill(-1, SIGKILL);
	wait_for(service, false, STOP_MIN_MS);
	sync();
	(void)mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
	guest_power(how);
}

static pid_t start_command(const struct guest *guest)
{
	const struct words *config = &guest->config;
	const char *at = NULL, *word, *user = words_get(config, "command_user");
	const char *directory = words_get(config, "command_directory");
	size_t size = config->length + 256;
	struct words_out out = { .data = malloc(size), .size = size };
	const int console[3] = { -1, STDOUT_FILENO, STDERR_FILENO };
	struct words request;
	char **argv, **env;

	if (!out.data)
		return -ENOMEM;
	words_set(&out, "user", user ? user : "root");
	words_set(&out, "directory", directory);
	while ((word = words_each(config, "command", &at)))
		words_set(&out, "arg", word);
	request = (struct words){ out.data, out.length };
	argv = guest_enter_arguments(guest, &request);
	env = guest_enter_environment(guest, &request);
	return argv && env ? guest_enter(guest, argv, env, console, -1, false) : -ENOMEM;
}

static int next_signal(const struct service *service)
{
	struct timespec rest;

	return guest_watch_wait(service->guest, &rest) ? sigtimedwait(&service->all, NULL, &rest)
						       : sigwaitinfo(&service->all, NULL);
}

_Noreturn void guest_service_run(struct guest *guest)
{
	bool is_machine = words_number(&guest->config, "command_is_machine", 1, 0);
	struct service service = { .guest = guest };

	(void)sigfillset(&service.all);
	(void)sigprocmask(SIG_SETMASK, &service.all, NULL);
	(void)reboot(RB_DISABLE_CAD); /* then it is SIGINT */
	guest_watch_start(guest);
	if (words_get(&guest->config, "command")) {
		service.command = start_command(guest);
		if (service.command < 0)
			guest_die((int)-service.command, "cannot start the image's command");
	}
	for (;;) {
		int number = next_signal(&service);
		bool had = service.command;

		(void)reap(&service);
		if ((had && !service.command && is_machine) || number == SIGPWR ||
		    number == SIGUSR2 || number == SIGUSR1)
			end(&service, RB_POWER_OFF);
		if (number == SIGTERM || number == SIGINT)
			end(&service, RB_AUTOBOOT);
		guest_watch_start(guest);
	}
}
