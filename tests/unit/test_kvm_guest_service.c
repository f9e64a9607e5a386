/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Process 1 of a virtual machine, in namespaces of its own. The command is a function of this test; the machine's end
 * is the end of the process, whose status says how it was to end.
 */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "providers/kvm/guest/guest.h"
#include "util/cleanup.h"

enum { POWER_OFF = 40, RESTART = 41, DIED = 42, NO_NAMESPACES = 77, WAIT_MS = 20000, KILLS = 3 };

static void (*command)(void);
static volatile pid_t *agent; /* as the command sees it */
static int ready_fd;          /* the command says that it runs */

/* ---- What process 1 asks for ------------------------------------------------------------------ */

/* Nothing of this host is mounted anew. */
int mount(const char *source, const char *target, const char *type, unsigned long flags,
	  const void *data)
{
	(void)source;
	(void)target;
	(void)type;
	(void)flags;
	(void)data;
	return 0;
}

int reboot(int how)
{
	(void)how;
	return 0;
}

_Noreturn void guest_power(int how)
{
	char text[32] = "";
	int fd = open("/run/venv/command-status", O_RDONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!read(fd, text, sizeof(text) - 1);
	(void)dprintf(ready_fd, "end %s", text);
	_exit(how == RB_POWER_OFF ? POWER_OFF : RESTART);
}

_Noreturn void guest_die(int number, const char *format, ...)
{
	(void)number;
	(void)format;
	_exit(DIED);
}

void guest_say(const char *format, ...)
{
	(void)format;
}

void guest_agent_protect(void)
{
}

pid_t guest_agent_start(const struct guest *guest)
{
	pid_t pid = fork();

	(void)guest;
	if (pid == 0)
		for (;;)
			(void)pause();
	*agent = pid;
	return pid;
}

char **guest_enter_arguments(const struct guest *guest, const struct words *request)
{
	(void)guest;
	if (strcmp(words_get(request, "arg"), "serve") != 0 ||
	    strcmp(words_get(request, "user"), "root") != 0)
		return NULL;
	return calloc(1, sizeof(char *));
}

char **guest_enter_environment(const struct guest *guest, const struct words *request)
{
	(void)guest;
	(void)request;
	return calloc(1, sizeof(char *));
}

pid_t guest_enter(const struct guest *guest, char *const *argv, char *const *env, const int fds[3],
		  int socket, bool tty)
{
	sigset_t none;
	pid_t pid = command ? fork() : -ENOEXEC;

	(void)guest;
	(void)argv;
	(void)env;
	(void)fds;
	(void)socket;
	(void)tty;
	if (pid)
		return pid;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	command();
	_exit(0);
}

/* ---- Commands --------------------------------------------------------------------------------- */

static void say_ready(void)
{
	(void)!write(ready_fd, "r", 1);
}

static void ends_with_seven(void)
{
	_exit(7);
}

/* As the machine's root may. */
static void kills_agents(void)
{
	for (int i = 0; i < KILLS; i++) {
		pid_t pid = *agent;

		if (kill(pid, SIGKILL) < 0)
			_exit(1);
		while (*agent == pid)
			(void)usleep(1000);
	}
	_exit(kill(*agent, 0) == 0 ? 7 : 1);
}

static void on_usr1(int number)
{
	(void)number;
	_exit(9);
}

static void ends_when_asked(void)
{
	(void)signal(SIGUSR1, on_usr1);
	say_ready();
	for (;;)
		(void)pause();
}

/* Nor does its child, which is one of process 1's when it is gone. */
static void ends_never(void)
{
	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_IGN);
	if (fork() != 0)
		say_ready();
	for (;;)
		(void)pause();
}

/* ---- Process 1 -------------------------------------------------------------------------------- */

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		(void)close(fd);
	return ok;
}

/* @return false: this host has no namespaces for us */
static bool enter_namespaces(void)
{
	char map[64], groups[64];

	(void)snprintf(map, sizeof(map), "0 %u 1", (unsigned)getuid());
	(void)snprintf(groups, sizeof(groups), "0 %u 1", (unsigned)getgid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID) == 0 &&
	       put("/proc/self/setgroups", "deny") && put("/proc/self/uid_map", map) &&
	       put("/proc/self/gid_map", groups) &&
	       syscall(SYS_mount, NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       syscall(SYS_mount, "tmpfs", "/run", "tmpfs", 0, NULL) == 0;
}

struct machine_end {
	int status; /* exit status of process 1 */
	char said[64];
	long ms;
};

static _Noreturn void be_process_1(const struct words *config)
{
	struct guest guest = { .config = *config, .enter_fd = -1, .listener = -1 };

	guest_service_run(&guest);
}

/* In a process between: unshare() is for children. Signals are sent from there. */
static _Noreturn void be_host(const struct words *config, int ready, int number)
{
	struct pollfd wait = { .fd = ready, .events = POLLIN };
	int status = 0;
	char byte;
	pid_t pid;

	if (!enter_namespaces())
		_exit(NO_NAMESPACES);
	pid = fork();
	if (pid == 0)
		be_process_1(config);
	if (number && poll(&wait, 1, WAIT_MS) == 1 && read(ready, &byte, 1) == 1)
		(void)kill(pid, number);
	(void)waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void run(const char *config, size_t size, void (*what)(void), int number,
		struct machine_end *ret)
{
	const struct words words = { config, size };
	struct timespec begin, end;
	int pipes[2], status = 0;
	ssize_t n;
	pid_t pid;

	command = what;
	assert_int_equal(pipe(pipes), 0);
	ready_fd = pipes[1];
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	pid = fork();
	if (pid == 0)
		be_host(&words, pipes[0], number);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	(void)close(pipes[1]);
	n = read(pipes[0], ret->said, sizeof(ret->said) - 1);
	ret->said[n > 0 ? n : 0] = '\0';
	(void)close(pipes[0]);
	ret->ms = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
	ret->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	if (ret->status == NO_NAMESPACES)
		skip();
}
#define RUN(config, what, number, ret) run(config, sizeof(config), what, number, ret)

/* ---- Tests ------------------------------------------------------------------------------------ */

#define COMMAND "command=serve\0command_signal=10\0"

static void a_command_may_be_the_machine(void **state)
{
	struct machine_end end;

	(void)state;
	RUN(COMMAND "command_is_machine=1", ends_with_seven, 0, &end);
	assert_int_equal(end.status, POWER_OFF);
	assert_string_equal(end.said, "end 1792\n"); /* 7 << 8 */
}

static void all_are_asked_to_end(void **state)
{
	static const struct {
		int number, status;
	} cases[] = {
		{ SIGPWR, POWER_OFF }, { SIGUSR2, POWER_OFF }, { SIGUSR1, POWER_OFF },
		{ SIGTERM, RESTART },  { SIGINT, RESTART },
	};
	struct machine_end end;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		RUN(COMMAND "command_is_machine=0\0stop_ms=20000", ends_when_asked, cases[i].number,
		    &end);
		assert_int_equal(end.status, cases[i].status);
		assert_string_equal(end.said, "end 2304\n"); /* its own signal came first */
		assert_in_range(end.ms, 0, 10000);
	}
}

static void who_does_not_end_is_killed(void **state)
{
	struct machine_end end;

	(void)state;
	RUN(COMMAND "stop_ms=0", ends_never, SIGPWR, &end);
	assert_int_equal(end.status, POWER_OFF);
	assert_in_range(end.ms, 900, 15000);
}

static void a_command_that_cannot_start_is_told(void **state)
{
	struct machine_end end;

	(void)state;
	RUN(COMMAND "command_is_machine=1", NULL, 0, &end);
	assert_int_equal(end.status, DIED);
}

static void an_agent_that_is_killed_comes_again(void **state)
{
	struct machine_end end;

	(void)state;
	RUN(COMMAND "command_is_machine=1", kills_agents, 0, &end);
	assert_int_equal(end.status, POWER_OFF);
	assert_string_equal(end.said, "end 1792\n");
	assert_in_range(end.ms, 100 + 200 + 400, 15000);
}

static void it_comes_ever_later_unless_it_lives(void **state)
{
	static const struct {
		int64_t lived;
		int delay;
	} cases[] = {
		{ 0, 100 },   { 0, 200 },     { 59999, 400 }, { 10, 800 },       { 0, 1600 },
		{ 0, 3200 },  { 0, 6400 },    { 0, 12800 },   { 0, 25600 },      { 0, 30000 },
		{ 0, 30000 }, { 60000, 100 }, { 0, 200 },     { 1L << 40, 100 },
	};
	struct guest_watch watch = { 0 };
	int64_t now = 5000;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		watch.started = now;
		now += cases[i].lived;
		guest_watch_plan(&watch, now);
		assert_int_equal(watch.delay, cases[i].delay);
		assert_int_equal(watch.due, now + cases[i].delay);
		now = watch.due;
	}
}

static void a_process_beside_systemd_does_the_same(void **state)
{
	struct guest guest = { .enter_fd = -1, .listener = -1 };
	pid_t pid = guest_watch_fork(&guest), before = 0;

	(void)state;
	assert_true(pid > 0);
	for (int i = 0; i <= KILLS; i++) {
		for (int waited = 0; *agent == before && waited < WAIT_MS; waited++)
			(void)usleep(1000);
		assert_int_not_equal(*agent, before);
		before = *agent;
		if (i == KILLS)
			(void)kill(pid, SIGKILL);
		assert_int_equal(kill(before, SIGKILL), 0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_command_may_be_the_machine),
		cmocka_unit_test(all_are_asked_to_end),
		cmocka_unit_test(who_does_not_end_is_killed),
		cmocka_unit_test(a_command_that_cannot_start_is_told),
		cmocka_unit_test(an_agent_that_is_killed_comes_again),
		cmocka_unit_test(it_comes_ever_later_unless_it_lives),
		cmocka_unit_test(a_process_beside_systemd_does_the_same),
	};

	agent = mmap(NULL, sizeof(*agent), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	if (agent == MAP_FAILED)
		return 1;

	return cmocka_run_group_tests_name("kvm_guest_service", tests, NULL, NULL);
}
