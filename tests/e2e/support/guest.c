/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests run inside machines where busybox cannot: guest udp-echo PORT | fds | refused */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
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

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "udp-echo") == 0 && argc == 3)
		return udp_echo(argv[2]);
	if (strcmp(what, "fds") == 0)
		return descriptors();
	return strcmp(what, "refused") == 0 ? refused() : 2;
}
