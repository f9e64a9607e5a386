/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests run inside machines where busybox cannot:
 * guest udp-echo PORT | fds | refused | exchange A B SECONDS | trace SECONDS | stop SECONDS */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int udp_echo(const char *port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons((unsigned short)strtoul(port, NULL, 10)) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	char data[65536];

	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return 1;
	for (;;) {
		socklen_t length = sizeof(address);
		ssize_t n =
			recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&address, &length);

		if (n >= 0)
			(void)sendto(fd, data, (size_t)n, 0, (struct sockaddr *)&address, length);
	}
}

static int descriptors(void)
{
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf("%d\n", fd);
	return 0;
}

static void tell(const char *what, int result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "worked");
}

static int refused(void)
{
	tell("AF_ALG", socket(AF_ALG, SOCK_SEQPACKET, 0));
	tell("AF_VSOCK", socket(AF_VSOCK, SOCK_STREAM, 0));
	tell("TIOCSTI", ioctl(0, TIOCSTI, "x"));
	return 0;
}

/* Two names change places again and again: what is looked up by path meets now one, now the other. */
static int exchange(const char *a, const char *b, const char *seconds)
{
	time_t end = time(NULL) + (time_t)strtoul(seconds, NULL, 10);
	unsigned long n = 0;

	for (; time(NULL) < end; n++) {
		if (syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */) < 0 &&
		    errno != EBUSY && errno != ENOENT)
			return 1;
		(void)usleep((useconds_t)(n * 7919 % 100));
	}
	printf("%lu\n", n);
	return 0;
}

/* Whose copy is it? Stopped, so it stays what it is. */
static void look_at(pid_t pid, unsigned *ret_others)
{
	char path[64], program[256];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	n = readlink(path, program, sizeof(program) - 1);
	program[n < 0 ? 0 : n] = '\0';
	if (strstr(program, "keeper")) {
		++*ret_others;
		printf("traces %s\n", program);
	}
}

/* Guest root takes hold of whatever process appears. */
static int trace(const char *seconds)
{
	time_t end = time(NULL) + (time_t)strtoul(seconds, NULL, 10);
	unsigned held = 0, others = 0;
	pid_t newest = getpid();

	while (time(NULL) < end) {
		for (pid_t pid = newest + 1; pid < newest + 8; pid++) {
			if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) < 0)
				continue;
			newest = pid;
			if (waitpid(pid, NULL, __WALL) != pid)
				continue;
			held++;
			look_at(pid, &others);
			(void)ptrace(PTRACE_DETACH, pid, NULL, NULL);
			(void)kill(pid, SIGCONT);
		}
	}
	printf("%u held, %u of them ours\n", held, others);
	return others != 0;
}

/* Guest root stops whatever process appears. */
static int stop(const char *seconds)
{
	time_t end = time(NULL) + (time_t)strtoul(seconds, NULL, 10);
	pid_t newest = getpid();

	printf("ready\n");
	(void)fflush(stdout);
	while (time(NULL) < end)
		for (pid_t pid = newest + 1; pid < newest + 8; pid++)
			if (kill(pid, SIGSTOP) == 0)
				newest = pid;
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "udp-echo") == 0 && argc == 3)
		return udp_echo(argv[2]);
	if (strcmp(what, "fds") == 0)
		return descriptors();
	if (strcmp(what, "exchange") == 0 && argc == 5)
		return exchange(argv[2], argv[3], argv[4]);
	if (strcmp(what, "trace") == 0 && argc == 3)
		return trace(argv[2]);
	if (strcmp(what, "stop") == 0 && argc == 3)
		return stop(argv[2]);
	return strcmp(what, "refused") == 0 ? refused() : 2;
}
