/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for the sftp server: each is a length byte pair and that many bytes, as the server would
 * get them after its length field. The server does what it is told to the file system, so this runs
 * in an empty root of its own (a tmpfs) or not at all. Corpus and crash files cannot be reached
 * from there: an input that crashes is printed in base64.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "enter/sftp_wire.h"
#include "tests/fuzz/own_root.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int __lsan_is_turned_off(void); /* NOLINT: the sanitizer's name */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int null_fd = -1;

/* It needs /proc, which is not in that root. */
int __lsan_is_turned_off(void) /* NOLINT */
{
	return 1;
}

static int become_root(void)
{
	char map[32];
	int n = snprintf(map, sizeof(map), "0 %u 1", geteuid()), fd;

	if (unshare(CLONE_NEWUSER) < 0)
		return -1;
	fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, map, (size_t)n) != n ? -1 : close(fd);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rlimit small = { 1 << 20, 1 << 20 };

	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (geteuid() != 0 && become_root() < 0) {
		perror("fuzz_sftp: no user namespace");
		_exit(77);
	}
	if (null_fd < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,nr_inodes=10000") < 0 ||
	    chroot("/tmp") < 0 || chdir("/") < 0) {
		perror("fuzz_sftp: no root of its own");
		_exit(77);
	}
	for (int i = 1; i < *argc; i++)
		make_path((*argv)[i]);
	(void)setrlimit(RLIMIT_FSIZE, &small);
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char init[] = { SFTP_INIT, 0, 0, 0, 3 };
	static struct sftp sftp;

	(void)signal(SIGXFSZ, SIG_IGN); /* the fuzzer has taken it after the initialization */
	if (sftp_init(&sftp, null_fd) < 0)
		return 0;
	if (size && *data != SFTP_INIT)
		(void)sftp_packet(&sftp, init, sizeof(init));
	while (size >= 2) {
		size_t n = (size_t)(data[0] << 8 | data[1]);

		data += 2;
		size -= 2;
		n = n < size ? n : size;
		if (!sftp_packet(&sftp, data, n))
			break;
		data += n;
		size -= n;
	}
	sftp_flush(&sftp);
	sftp_done(&sftp);
	return 0;
}
