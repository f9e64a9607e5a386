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
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#include "enter/sftp_wire.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int __lsan_is_turned_off(void); /* NOLINT: the sanitizer's name */
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static int null_fd = -1;

/* It needs /proc, which is not in that root. */
int __lsan_is_turned_off(void) /* NOLINT */
{
	return 1;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct rlimit small = { 1 << 20, 1 << 20 };

	(void)argc;
	(void)argv;
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (geteuid() != 0 && unshare(CLONE_NEWUSER) < 0) {
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
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &small);
	return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static const unsigned char init[] = { SFTP_INIT, 0, 0, 0, 3 };
	static struct sftp sftp;

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
