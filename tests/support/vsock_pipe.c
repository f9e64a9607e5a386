/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For guests: streams to and from the host, of which no shell knows.
 *
 *   vsock_pipe echo PORT   give back what comes, to one caller after the other, until killed
 *   vsock_pipe send PORT   say to the host what stands on stdin, print what it answers
 */
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char data[65536];

static int put(int fd, const char *at, size_t length)
{
	while (length) {
		ssize_t n = write(fd, at, length);

		if (n <= 0)
			return -1;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

static int copy(int from, int to)
{
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) > 0)
		if (put(to, data, (size_t)n) < 0)
			return -1;
	return (int)n;
}

static int echo(int listener)
{
	if (listen(listener, 4) < 0)
		return -1;
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0 || copy(fd, fd) < 0)
			return -1;
		(void)close(fd);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), r = -1;

	if (argc != 3)
		return 2;
	address.svm_port = (unsigned)strtoul(argv[2], NULL, 10);
	if (strcmp(argv[1], "echo") == 0) {
		r = bind(fd, (const struct sockaddr *)&address, sizeof(address));
		if (r == 0)
			r = echo(fd);
	} else {
		address.svm_cid = VMADDR_CID_HOST;
		r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
		if (r == 0)
			r = copy(STDIN_FILENO, fd);
		if (r == 0)
			r = shutdown(fd, SHUT_WR);
		if (r == 0)
			r = copy(fd, STDOUT_FILENO);
	}
	if (r < 0)
		perror(argv[1]);
	return r < 0;
}
